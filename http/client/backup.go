package client

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// backupBody bounds an upload of room keys, in bytes; clients send some hundreds of keys at once.
const backupBody = 16 << 20

// backups are the endpoints of server-side key backups (client-server API, "Server-side key backups").
func (e *encryption) backups() []api.Endpoint {
	const base = "/_matrix/client/v3/room_keys"
	endpoints := []api.Endpoint{
		{Methods: post, Path: base + "/version", Handler: e.createBackup},
		{Methods: get, Path: base + "/version", Handler: e.getBackup},
		{Methods: get, Path: base + "/version/{version}", Handler: e.getBackup},
		{Methods: put, Path: base + "/version/{version}", Handler: e.updateBackup},
		{Methods: remove, Path: base + "/version/{version}", Handler: e.deleteBackup},
	}
	for _, path := range []string{base + "/keys", base + "/keys/{roomId}", base + "/keys/{roomId}/{sessionId}"} {
		endpoints = append(endpoints,
			api.Endpoint{Methods: get, Path: path, Handler: e.getSessions},
			api.Endpoint{Methods: put, Path: path, MaxBody: backupBody, Handler: e.putSessions},
			api.Endpoint{Methods: remove, Path: path, Handler: e.deleteSessions},
		)
	}
	for i := range endpoints {
		unstable := "/_matrix/client/unstable" + endpoints[i].Path[len("/_matrix/client/v3"):]
		endpoints[i].Also, endpoints[i].R0 = []string{unstable}, true
		endpoints[i].Auth, endpoints[i].Limit, endpoints[i].WhileSuspended = api.User, api.LimitKeys, true
	}
	return endpoints
}

// backupInfo is the body of the endpoints that make or change a version.
type backupInfo struct {
	Algorithm string         `json:"algorithm"`
	AuthData  jsontext.Value `json:"auth_data"`
	Version   *string        `json:"version"`
}

func decodeBackup(r *api.Request) (backupInfo, error) {
	var b backupInfo
	if err := r.Decode(&b); err != nil {
		return b, err
	}
	if b.Algorithm == "" {
		return b, mxerr.MissingParam("algorithm is required")
	}
	if b.AuthData.Kind() != '{' {
		return b, mxerr.MissingParam("auth_data is required, an object")
	}
	return b, nil
}

func (e *encryption) createBackup(r *api.Request) (any, error) {
	b, err := decodeBackup(r)
	if err != nil {
		return nil, err
	}
	made, err := AskUser[*messages.BackupVersion](r.Ctx, e.Deps, r.User(), &messages.CreateBackup{
		By: requester(r), Algorithm: b.Algorithm, AuthData: b.AuthData})
	if err != nil {
		return nil, err
	}
	return map[string]string{"version": made.Version}, nil
}

func (e *encryption) getBackup(r *api.Request) (any, error) {
	b, err := keys.FindBackup(r.Ctx, e.Store, r.User(), r.Vars["version"])
	if err != nil {
		return nil, err
	}
	return map[string]any{"algorithm": b.Algorithm, "auth_data": jsontext.Value(b.AuthData), "count": b.Count,
		"etag": strconv.FormatUint(b.ETag, 10), "version": strconv.FormatUint(b.Version, 10)}, nil
}

func (e *encryption) updateBackup(r *api.Request) (any, error) {
	b, err := decodeBackup(r)
	if err != nil {
		return nil, err
	}
	if b.Version != nil && *b.Version != r.Vars["version"] {
		return nil, mxerr.InvalidParam("the body speaks of version %q, the path of %q", *b.Version, r.Vars["version"])
	}
	_, err = AskUser[*messages.Done](r.Ctx, e.Deps, r.User(), &messages.UpdateBackup{
		By: requester(r), Version: r.Vars["version"], Algorithm: b.Algorithm, AuthData: b.AuthData})
	return nil, err
}

func (e *encryption) deleteBackup(r *api.Request) (any, error) {
	_, err := AskUser[*messages.Done](r.Ctx, e.Deps, r.User(), &messages.DeleteBackup{By: requester(r), Version: r.Vars["version"]})
	return nil, err
}

func (e *encryption) getSessions(r *api.Request) (any, error) {
	version, err := r.Need("version")
	if err != nil {
		return nil, err
	}
	b, err := keys.FindBackup(r.Ctx, e.Store, r.User(), version)
	if err != nil {
		return nil, err
	}
	roomID, sessionID := r.Vars["roomId"], r.Vars["sessionId"]
	rooms, err := keys.ReadSessions(r.Ctx, e.Store, b, roomID, sessionID)
	switch {
	case err != nil:
		return nil, err
	case roomID == "":
		return map[string]any{"rooms": rooms}, nil
	case sessionID == "":
		if room, ok := rooms[roomID]; ok {
			return room, nil
		}
		return keys.RoomSessions{Sessions: map[string]keys.Session{}}, nil
	}
	session, ok := rooms[roomID].Sessions[sessionID]
	if !ok {
		return nil, mxerr.NotFound("the backup has no key of the session %s", sessionID)
	}
	return session, nil
}

// putSessions takes keys of many rooms, of one room, or a single key, depending on the path.
func (e *encryption) putSessions(r *api.Request) (any, error) {
	version, err := r.Need("version")
	if err != nil {
		return nil, err
	}
	var body struct {
		Rooms    map[string]keys.RoomSessions `json:"rooms"`
		Sessions map[string]keys.Session      `json:"sessions"`
		keys.Session
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	rooms := body.Rooms
	switch roomID, sessionID := r.Vars["roomId"], r.Vars["sessionId"]; {
	case roomID == "" && rooms == nil:
		return nil, mxerr.BadJSON("rooms is required")
	case roomID == "":
	case sessionID == "":
		if body.Sessions == nil {
			return nil, mxerr.BadJSON("sessions is required")
		}
		rooms = map[string]keys.RoomSessions{roomID: {Sessions: body.Sessions}}
	default:
		rooms = map[string]keys.RoomSessions{roomID: {Sessions: map[string]keys.Session{sessionID: body.Session}}}
	}
	raw, err := json.Marshal(rooms)
	if err != nil {
		return nil, err
	}
	state, err := AskUser[*messages.BackupState](r.Ctx, e.Deps, r.User(), &messages.PutBackupSessions{By: requester(r), Version: version, Rooms: raw})
	return backupState(state, err)
}

func (e *encryption) deleteSessions(r *api.Request) (any, error) {
	version, err := r.Need("version")
	if err != nil {
		return nil, err
	}
	state, err := AskUser[*messages.BackupState](r.Ctx, e.Deps, r.User(), &messages.DeleteBackupSessions{
		By: requester(r), Version: version, RoomId: r.Vars["roomId"], SessionId: r.Vars["sessionId"]})
	return backupState(state, err)
}

func backupState(s *messages.BackupState, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{"etag": s.Etag, "count": s.Count}, nil
}
