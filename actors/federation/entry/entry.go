// Package entry brings users of this server into rooms of other servers and out again, and takes users of other servers into
// rooms that have them on invitation: the handshakes of the server-server API, "Joining Rooms", "Knocking upon a room",
// "Inviting to a room" and "Leaving Rooms (Rejecting Invites)", from the side of the server that begins.
//
// It runs beside the actors, in the goroutine of who waits for it. What another server answers is checked before a room's
// actor hears of it: signatures and hashes here, authorisation by the room.
package entry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
)

// Deps are what the handshakes need.
type Deps struct {
	ServerName string
	Key        signing.Key
	Store      persistence.Reader
	Reader     *reader.Reader
	Rooms      cluster.Caller
	Servers    federation.Caller
	Verifier   *verify.Verifier
	Policy     *policy.Servers
	// Complete has the members of a room fetched that was joined without them.
	Complete func(roomID string)
	// CompleteWith is like it when the members have come with the join: these are the ids of their events.
	CompleteWith func(roomID, joinID string, members []string)
	Now          func() time.Time
	Log          *slog.Logger
	// Folder is where states are kept while they are read, which may be too large for memory; empty: where the system keeps such things.
	Folder string
}

// Bounds of one handshake.
const (
	// maxServers is how many servers are asked, one after another, before giving up.
	maxServers = 20
	// patience bounds a whole handshake, however many servers are asked.
	patience = 2 * time.Minute
	// largest is the most that a server may answer to a join, in bytes.
	largest = int64(512 << 20)
	// smallAnswer bounds the answers that hold one event and some state for show.
	smallAnswer = int64(4 << 20)
)

// Handshakes carries handshakes out. It is safe for concurrent use.
type Handshakes struct {
	d     Deps
	rooms rooms
}

// New makes the handshakes of a node.
func New(d Deps) *Handshakes {
	return &Handshakes{d: d, rooms: rooms{busy: map[string]chan struct{}{}}}
}

// Request is what a local user wants of a room that is on other servers.
type Request struct {
	By     *messages.Requester
	RoomID string
	// Content is what the member event shall say besides the membership, a JSON object or empty: the profile, a reason.
	Content []byte
	// Servers are asked in this order.
	Servers []string
}

// candidates are the servers to ask: each once, never ourselves, not too many.
func (h *Handshakes) candidates(servers []string) []string {
	var list []string
	for _, s := range servers {
		if s != "" && s != h.d.ServerName && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list[:min(len(list), maxServers)]
}

// each asks one server after another until one does it. The error is the most telling of all: what a server that knows the
// room says against it comes before what keeps others from answering.
func (h *Handshakes) each(ctx context.Context, r Request, what string, try func(ctx context.Context, server string) error) error {
	servers := h.candidates(r.Servers)
	if len(servers) == 0 {
		return mxerr.NotFound("no server is known that is in the room %s; name one with via", r.RoomID)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var refusal error
	for _, server := range servers {
		err := try(ctx, server)
		if err == nil {
			return nil
		}
		h.d.Log.Info("a handshake with another server failed", "what", what, "server", server, "room", r.RoomID, "error", err)
		if final(err) {
			return err
		}
		if refusal == nil || telling(err) > telling(refusal) {
			refusal = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return tell(refusal, r.RoomID)
}

// final reports whether no other server can do better: what this server itself refuses.
func final(err error) bool {
	var own *mxerr.Error
	return errors.As(err, &own) && own.Code != codeLiar
}

// telling orders failures: refusals by a server before servers that do not answer, and among them those for a reason.
func telling(err error) int {
	var e *federation.Error
	switch {
	case errors.As(err, &e) && e.Code != "" && e.Status == http.StatusForbidden:
		return 3
	case errors.As(err, &e) && e.Code != "" && e.Status < http.StatusInternalServerError:
		return 2
	case errors.As(err, &e):
		return 1
	}
	return 0
}

// codeLiar marks answers that break the rules; another server may do better.
const codeLiar = "M_BAD_RESPONSE"

// liar is an answer of another server that cannot be used.
func liar(server, format string, args ...any) error {
	return mxerr.New(http.StatusBadGateway, codeLiar, server+" gave an answer that cannot be used: "+format, args...)
}

// tell makes of the failure what a client is told: another server's refusal as it is, everything else as one that may pass.
func tell(err error, roomID string) error {
	var e *federation.Error
	if errors.As(err, &e) && forClients(e) {
		return passedOn(e)
	}
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "no server that is in the room %s could be reached, or none gave a usable answer: %v", roomID, err)
}

// passedOn is the refusal as a client is told it.
func passedOn(e *federation.Error) error {
	refusal := mxerr.New(e.Status, e.Code, "%s: %.500s", e.Destination, e.Message)
	if version := gjson.GetBytes(e.Body, "room_version"); e.Code == "M_INCOMPATIBLE_ROOM_VERSION" && version.Type == gjson.String && len(version.Str) <= 64 {
		return refusal.With("room_version", version.Str)
	}
	return refusal
}

// forClients reports whether a refusal is about what the client wants. Others are about how this server asked, or pass; these are
// failures of the servers to a client (server-server API, 400 of the handshakes: "SHOULD fail with a 5xx error").
func forClients(e *federation.Error) bool {
	switch {
	case e.Code == "" || e.Status < 400 || e.Status >= 500:
		return false
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusTooManyRequests:
		return false
	case e.Code == "M_MISSING_PARAM", e.Code == "M_INVALID_PARAM", e.Code == "M_BAD_JSON", e.Code == "M_NOT_JSON", e.Code == "M_UNRECOGNIZED":
		return false
	}
	return true
}

// template is the answer to make_join, make_knock and make_leave.
type template struct {
	RoomVersion *string        `json:"room_version"`
	Event       jsontext.Value `json:"event"`
}

// draft is the part of a template's event that the other server knows better than we.
type draft struct {
	Type       string                    `json:"type"`
	RoomID     *string                   `json:"room_id"`
	Sender     string                    `json:"sender"`
	StateKey   *string                   `json:"state_key"`
	Depth      jsontext.Value            `json:"depth"`
	PrevEvents jsontext.Value            `json:"prev_events"`
	AuthEvents jsontext.Value            `json:"auth_events"`
	Content    map[string]jsontext.Value `json:"content"`
}

// make asks a server for a template and makes a signed event of it.
func (h *Handshakes) make(ctx context.Context, server, endpoint, membership string, r Request) (*event.Event, error) {
	uri := "/_matrix/federation/v1/" + endpoint + "/" + url.PathEscape(r.RoomID) + "/" + url.PathEscape(r.By.UserId)
	if endpoint != "make_leave" {
		uri += "?" + ourVersions(endpoint == "make_knock")
	}
	raw, err := h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: uri, Limit: smallAnswer, Eager: true})
	if err != nil {
		return nil, err
	}
	var t template
	var d draft
	if err := errors.Join(json.Unmarshal(raw, &t), json.Unmarshal(t.Event, &d)); err != nil {
		return nil, liar(server, "%s: %v", endpoint, err)
	}
	version, err := versionOf(server, t.RoomVersion)
	if err != nil {
		return nil, err
	}
	if d.Type != "m.room.member" || d.Sender != r.By.UserId || d.StateKey == nil || *d.StateKey != r.By.UserId ||
		d.RoomID != nil && *d.RoomID != r.RoomID || text(d.Content["membership"]) != membership {
		return nil, liar(server, "the template is not that of %s's %s", r.By.UserId, membership)
	}
	return h.complete(server, version, membership, r, d)
}

// complete fills a template in, as our event.
func (h *Handshakes) complete(server string, version *roomversion.Version, membership string, r Request, d draft) (*event.Event, error) {
	content := map[string]jsontext.Value{}
	if len(r.Content) > 0 {
		if err := json.Unmarshal(r.Content, &content); err != nil {
			return nil, mxerr.BadJSON("the content of a member event must be a JSON object")
		}
	}
	content["membership"] = jsontext.Value(`"` + membership + `"`)
	const via = "join_authorised_via_users_server"
	delete(content, via)
	if v, ok := d.Content[via]; ok && version.Restricted {
		content[via] = v
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return nil, mxerr.BadJSON("the content is not valid JSON")
	}
	prev, err := cited(d.PrevEvents, version)
	if err != nil {
		return nil, liar(server, "prev_events: %v", err)
	}
	auth, err := cited(d.AuthEvents, version)
	if err != nil {
		return nil, liar(server, "auth_events: %v", err)
	}
	var depth int64
	if err := json.Unmarshal(d.Depth, &depth); err != nil {
		return nil, liar(server, "depth: %v", err)
	}
	now := h.d.Now().UnixMilli()
	e, err := event.Build(event.Proto{
		Type: "m.room.member", StateKey: &r.By.UserId, Sender: r.By.UserId, RoomID: r.RoomID, Content: raw,
		PrevEvents: prev, AuthEvents: auth, Depth: depth, OriginServerTS: now, EventIDRandom: randomID(),
	}, version, h.d.ServerName, h.d.Key)
	if err != nil {
		return nil, liar(server, "no event can be made of its template: %v", err)
	}
	// What Build makes is valid if its parts are; the citations are the other server's.
	if _, err := event.Parse(e.JSON(), version); err != nil {
		return nil, liar(server, "the template breaks the rules of events: %v", err)
	}
	return e, nil
}

// cited reads prev_events or auth_events: ids, or in room versions 1 and 2 pairs of id and hashes.
func cited(raw jsontext.Value, version *roomversion.Version) ([]string, error) {
	var ids []string
	if version.EventIDFormat != roomversion.EventIDField {
		return ids, json.Unmarshal(raw, &ids)
	}
	var pairs [][]jsontext.Value
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if len(p) == 0 {
			return nil, errors.New("an empty pair")
		}
		ids = append(ids, text(p[0]))
	}
	return ids, nil
}

// text is the string that the JSON value is, or empty.
func text(raw jsontext.Value) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// versionOf is the room version that a server names; without a name it is 1. One that is unknown here is the server's refusal: another may
// know better.
func versionOf(server string, name *string) (*roomversion.Version, error) {
	id := "1"
	if name != nil {
		id = *name
	}
	version, ok := roomversion.Get(id)
	if !ok {
		return nil, &federation.Error{Destination: server, Status: http.StatusBadRequest, Code: "M_INCOMPATIBLE_ROOM_VERSION",
			Message: fmt.Sprintf("the room has version %.64q, which this server does not know", id)}
	}
	return version, nil
}

// ourVersions are the room versions that we know, as a query.
func ourVersions(knock bool) string {
	q := url.Values{}
	for _, v := range roomversion.All() {
		if !knock || v.Knock {
			q.Add("ver", v.ID)
		}
	}
	return q.Encode()
}

// askRoom asks the actor of the room.
func askRoom[A proto.Message](ctx context.Context, h *Handshakes, roomID string, m proto.Message) (A, error) {
	return cluster.Ask[A](ctx, h.d.Rooms, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, m)
}

// sendURI is the path of the second half of a handshake.
func sendURI(version, endpoint, roomID, eventID string) string {
	return strings.Join([]string{"/_matrix/federation", version, endpoint, url.PathEscape(roomID), url.PathEscape(eventID)}, "/")
}
