package keys

import (
	"context"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// deleteBatch is how many rows of a deleted backup one commit removes.
const deleteBatch = 1000

// Session is one backed-up room key as clients write it (KeyBackupData).
type Session struct {
	FirstMessageIndex *int64         `json:"first_message_index"`
	ForwardedCount    *int64         `json:"forwarded_count"`
	IsVerified        *bool          `json:"is_verified"`
	SessionData       jsontext.Value `json:"session_data"`
}

// RoomSessions are a room's sessions by id.
type RoomSessions struct {
	Sessions map[string]Session `json:"sessions"`
}

// FindBackup reads a version of a user's backup, the newest when version is empty; 404 M_NOT_FOUND if it is not there.
func FindBackup(ctx context.Context, r persistence.Reader, userID, version string) (schema.KeyBackup, error) {
	if version != "" {
		n, err := strconv.ParseUint(version, 10, 64)
		if err == nil {
			row, ok, err := schema.KeyBackups.Get(ctx, r, schema.KeyBackup{UserID: userID, Version: n})
			if err != nil {
				return row, err
			}
			if ok && !row.Deleted {
				return row, nil
			}
		}
		return schema.KeyBackup{}, mxerr.NotFound("there is no key backup with the version %q", version)
	}
	for row, err := range schema.KeyBackups.Scan(ctx, r, persistence.Range[schema.KeyBackup]{
		Prefix: schema.KeyBackup{UserID: userID}, Keys: 1, Reverse: true}) {
		if err != nil {
			return row, err
		}
		if !row.Deleted {
			return row, nil
		}
	}
	return schema.KeyBackup{}, mxerr.NotFound("there is no key backup")
}

// currentBackup is the version that may be written: the newest, and only if the client means it.
func currentBackup(ctx context.Context, o *user.Op, version string) (schema.KeyBackup, error) {
	newest, err := FindBackup(ctx, o.Store, o.UserID, "")
	if err != nil {
		return newest, err
	}
	if current := strconv.FormatUint(newest.Version, 10); current != version {
		return newest, mxerr.New(http.StatusForbidden, "M_WRONG_ROOM_KEYS_VERSION",
			"the current key backup is version %s, not %q", current, version).With("current_version", current)
	}
	return newest, nil
}

// ReadSessions reads the sessions of a backup by room: all, those of one room, or a single one.
func ReadSessions(ctx context.Context, r persistence.Reader, b schema.KeyBackup, roomID, sessionID string) (map[string]RoomSessions, error) {
	rooms := map[string]RoomSessions{}
	for row, err := range schema.KeyBackupSessions.Scan(ctx, r, sessionRange(b, roomID, sessionID)) {
		if err != nil {
			return nil, err
		}
		room, ok := rooms[row.RoomID]
		if !ok {
			room.Sessions = map[string]Session{}
			rooms[row.RoomID] = room
		}
		room.Sessions[row.SessionID] = Session{
			FirstMessageIndex: &row.FirstMessageIndex, ForwardedCount: &row.ForwardedCount,
			IsVerified: &row.IsVerified, SessionData: row.SessionData,
		}
	}
	return rooms, nil
}

func sessionRange(b schema.KeyBackup, roomID, sessionID string) persistence.Range[schema.KeyBackupSession] {
	q := persistence.Range[schema.KeyBackupSession]{
		Prefix: schema.KeyBackupSession{UserID: b.UserID, Version: b.Version, RoomID: roomID, SessionID: sessionID}, Keys: 2,
	}
	if roomID != "" {
		q.Keys++
		if sessionID != "" {
			q.Keys++
		}
	}
	return q
}

func createBackup(ctx context.Context, o *user.Op, req *messages.CreateBackup) (*messages.BackupVersion, error) {
	newest, err := schema.KeyBackups.All(ctx, o.Store, persistence.Range[schema.KeyBackup]{
		Prefix: schema.KeyBackup{UserID: o.UserID}, Keys: 1, Reverse: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	row := schema.KeyBackup{UserID: o.UserID, Version: 1, Algorithm: req.Algorithm, AuthData: req.AuthData}
	if len(newest) == 1 {
		row.Version = newest[0].Version + 1
	}
	_, err = o.Commit(ctx, []persistence.Mutation{schema.KeyBackups.Put(row)}, nil, user.Notices{})
	return &messages.BackupVersion{Version: strconv.FormatUint(row.Version, 10)}, err
}

func updateBackup(ctx context.Context, o *user.Op, req *messages.UpdateBackup) (*messages.Done, error) {
	row, err := FindBackup(ctx, o.Store, o.UserID, req.Version)
	if err != nil {
		return nil, err
	}
	if row.Algorithm != req.Algorithm {
		return nil, mxerr.InvalidParam("the algorithm of a backup cannot change: it is %s", row.Algorithm)
	}
	row.AuthData = req.AuthData
	_, err = o.Commit(ctx, []persistence.Mutation{schema.KeyBackups.Put(row)}, nil, user.Notices{})
	return &messages.Done{}, err
}

func deleteBackup(ctx context.Context, o *user.Op, req *messages.DeleteBackup) (*messages.Done, error) {
	row, err := FindBackup(ctx, o.Store, o.UserID, req.Version)
	if err != nil {
		return nil, err
	}
	row.Deleted, row.Count, row.AuthData = true, 0, nil
	if _, err := o.Commit(ctx, []persistence.Mutation{schema.KeyBackups.Put(row)}, nil, user.Notices{}); err != nil {
		return nil, err
	}
	for {
		q := sessionRange(row, "", "")
		q.Limit = deleteBatch
		sessions, err := schema.KeyBackupSessions.All(ctx, o.Store, q)
		if err != nil || len(sessions) == 0 {
			return &messages.Done{}, err
		}
		writes := make([]persistence.Mutation, len(sessions))
		for i, s := range sessions {
			writes[i] = schema.KeyBackupSessions.Delete(s)
		}
		if _, err := o.Commit(ctx, writes, nil, user.Notices{}); err != nil {
			return nil, err
		}
	}
}

func putBackupSessions(ctx context.Context, o *user.Op, req *messages.PutBackupSessions) (*messages.BackupState, error) {
	var rooms map[string]RoomSessions
	if err := json.Unmarshal(req.Rooms, &rooms); err != nil {
		return nil, mxerr.BadJSON("rooms: %v", err)
	}
	backup, err := currentBackup(ctx, o, req.Version)
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	for roomID, room := range rooms {
		for sessionID, s := range room.Sessions {
			row, err := sessionRow(backup, roomID, sessionID, s)
			if err != nil {
				return nil, err
			}
			old, ok, err := schema.KeyBackupSessions.Get(ctx, o.Store, row)
			if err != nil {
				return nil, err
			}
			if ok && !better(row, old) {
				continue
			}
			if !ok {
				backup.Count++
			}
			writes = append(writes, schema.KeyBackupSessions.Put(row))
		}
	}
	return commitBackup(ctx, o, backup, writes)
}

func sessionRow(b schema.KeyBackup, roomID, sessionID string, s Session) (schema.KeyBackupSession, error) {
	if s.FirstMessageIndex == nil || s.ForwardedCount == nil || s.IsVerified == nil || s.SessionData.Kind() != '{' {
		return schema.KeyBackupSession{}, mxerr.BadJSON(
			"the session %s of %s needs first_message_index, forwarded_count, is_verified and session_data", sessionID, roomID)
	}
	return schema.KeyBackupSession{UserID: b.UserID, Version: b.Version, RoomID: roomID, SessionID: sessionID,
		FirstMessageIndex: *s.FirstMessageIndex, ForwardedCount: *s.ForwardedCount, IsVerified: *s.IsVerified,
		SessionData: s.SessionData}, nil
}

// better says which of two copies of a key is kept (client-server API, "Backup algorithm", PUT /room_keys/keys).
func better(a, b schema.KeyBackupSession) bool {
	if a.IsVerified != b.IsVerified {
		return a.IsVerified
	}
	if a.FirstMessageIndex != b.FirstMessageIndex {
		return a.FirstMessageIndex < b.FirstMessageIndex
	}
	return a.ForwardedCount < b.ForwardedCount
}

func deleteBackupSessions(ctx context.Context, o *user.Op, req *messages.DeleteBackupSessions) (*messages.BackupState, error) {
	backup, err := currentBackup(ctx, o, req.Version)
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	for row, err := range schema.KeyBackupSessions.Scan(ctx, o.Store, sessionRange(backup, req.RoomId, req.SessionId)) {
		if err != nil {
			return nil, err
		}
		backup.Count--
		writes = append(writes, schema.KeyBackupSessions.Delete(row))
	}
	return commitBackup(ctx, o, backup, writes)
}

// commitBackup stores changes of a backup's sessions; the etag moves when anything did.
func commitBackup(ctx context.Context, o *user.Op, b schema.KeyBackup, writes []persistence.Mutation) (*messages.BackupState, error) {
	if len(writes) > 0 {
		b.ETag++
		if _, err := o.Commit(ctx, append(writes, schema.KeyBackups.Put(b)), nil, user.Notices{}); err != nil {
			return nil, err
		}
	}
	return &messages.BackupState{Etag: strconv.FormatUint(b.ETag, 10), Count: b.Count}, nil
}
