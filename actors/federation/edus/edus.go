// Package edus takes in what other servers tell beside events (server-server API, "EDUs"): who types, what was read, presence, messages to
// devices, and changes of devices. A server speaks for its own users only, and of rooms only while it is in them.
package edus

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation/devicelists"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Deps are what a Receiver needs.
type Deps struct {
	ServerName string
	Store      persistence.Store
	Reader     *reader.Reader
	Actors     cluster.Caller
	Devices    *devicelists.Lists
	Presence   bool // whether presence is taken in
	Now        func() time.Time
	Log        *slog.Logger
}

// Receiver takes EDUs in. It is safe for concurrent use; whoever calls it sees to the order of one server's.
type Receiver struct{ d Deps }

// New makes a receiver.
func New(d Deps) *Receiver { return &Receiver{d} }

// The bounds of one EDU. What is beyond them is left out.
const (
	eduBound        = 2 << 20 // bytes of the content, for all but messages to devices, whose bounds are their own
	receiptsBound   = 1000    // receipts of one m.receipt
	longestID       = 255     // bytes of an event id
	presenceBound   = 1000    // users of one m.presence
	typingLasts     = time.Minute
	remoteTimeBound = int64(1) << 53
)

// Receive takes one in. Those that nobody knows, that are malformed, or that speak for users of others, are passed over, as the specification
// has it; an error says that one that must not be lost could not be made durable, and should come again.
func (r *Receiver) Receive(ctx context.Context, origin, kind string, content []byte) error {
	handle := map[string]func(context.Context, string, []byte) error{
		"m.typing":                      r.typing,
		"m.receipt":                     r.receipt,
		"m.presence":                    r.presence,
		"m.direct_to_device":            r.toDevice,
		"m.device_list_update":          r.deviceUpdate,
		"m.signing_key_update":          r.signingKeys,
		"org.matrix.signing_key_update": r.signingKeys,
	}[kind]
	if handle == nil || kind != "m.direct_to_device" && len(content) > eduBound {
		return nil
	}
	return handle(ctx, origin, content)
}

// decode reports whether the content is what it should be.
func (r *Receiver) decode(origin string, raw []byte, into any) bool {
	err := json.Unmarshal(raw, into)
	if err != nil {
		r.d.Log.Debug("an EDU is malformed", "server", origin, "error", err)
	}
	return err == nil
}

// of reports whether the user is one of the origin's, and of no other server.
func of(origin, userID string) bool { return id.ValidUser(userID) && id.ServerOf(userID) == origin }

// admitted reports whether the room is known here and lets the server speak.
func (r *Receiver) admitted(ctx context.Context, origin, roomID string) (bool, error) {
	if !id.ValidRoomID(roomID) {
		return false, nil
	}
	resident, err := r.d.Reader.Resident(ctx, roomID, origin)
	if err != nil || !resident {
		return false, err
	}
	acl, err := r.d.Reader.ServerACL(ctx, roomID)
	return err == nil && (acl == nil || acl.Allows(origin)), err
}

func room(roomID string) cluster.Identity {
	return cluster.Identity{Kind: cluster.KindRoom, ID: roomID}
}

// typing takes in m.typing. The room refuses those who are not in it.
func (r *Receiver) typing(ctx context.Context, origin string, raw []byte) error {
	var content struct {
		RoomID string `json:"room_id"`
		UserID string `json:"user_id"`
		Typing bool   `json:"typing"`
	}
	if !r.decode(origin, raw, &content) || !of(origin, content.UserID) {
		return nil
	}
	ok, err := r.admitted(ctx, origin, content.RoomID)
	if ok {
		r.d.Actors.Tell(room(content.RoomID), &messages.SetTyping{By: &messages.Requester{UserId: content.UserID}, Typing: content.Typing,
			TimeoutMs: typingLasts.Milliseconds()})
	}
	return err
}

// receipt takes in m.receipt. The room refuses those who are not in it, and those that go back.
func (r *Receiver) receipt(ctx context.Context, origin string, raw []byte) error {
	var content map[string]map[string]map[string]struct {
		Data struct {
			TS       int64  `json:"ts"`
			ThreadID string `json:"thread_id"`
		} `json:"data"`
		EventIDs []string `json:"event_ids"`
	}
	if !r.decode(origin, raw, &content) {
		return nil
	}
	left := receiptsBound
	for roomID, types := range content {
		ok, err := r.admitted(ctx, origin, roomID)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		for userID, receipt := range types["m.read"] { // the only type that leaves a server
			if left--; left < 0 {
				return nil
			}
			if !of(origin, userID) || len(receipt.EventIDs) == 0 {
				continue
			}
			last := receipt.EventIDs[len(receipt.EventIDs)-1]
			if last != "" && len(last) <= longestID && len(receipt.Data.ThreadID) <= longestID {
				r.d.Actors.Tell(room(roomID), &messages.ReceiveReceipt{UserId: userID, EventId: last, ThreadId: receipt.Data.ThreadID, Ts: receipt.Data.TS})
			}
		}
	}
	return nil
}

// presence takes in m.presence, of users who share a room with one of ours.
func (r *Receiver) presence(ctx context.Context, origin string, raw []byte) error {
	var content struct {
		Push []struct {
			UserID          string `json:"user_id"`
			Presence        string `json:"presence"`
			StatusMsg       string `json:"status_msg"`
			LastActiveAgo   int64  `json:"last_active_ago"`
			CurrentlyActive bool   `json:"currently_active"`
		} `json:"push"`
	}
	if !r.d.Presence || !r.decode(origin, raw, &content) {
		return nil
	}
	commit := &persistence.Commit{}
	for _, p := range content.Push[:min(len(content.Push), presenceBound)] {
		if !of(origin, p.UserID) || p.Presence != "online" && p.Presence != "unavailable" && p.Presence != "offline" {
			continue
		}
		rooms, err := reader.JoinedRooms(ctx, r.d.Store, p.UserID)
		if err != nil {
			return err
		}
		if len(rooms) == 0 {
			continue
		}
		row := schema.Presence{UserID: p.UserID, State: p.Presence, StatusMsg: p.StatusMsg}
		if now := r.d.Now().UnixMilli(); p.LastActiveAgo > 0 || p.CurrentlyActive {
			row.LastActiveTS = max(now-min(max(p.LastActiveAgo, 0), remoteTimeBound), 1)
		}
		commit.Write = append(commit.Write, schema.Presences.Put(row))
		commit.Notices = append(commit.Notices, &messages.PresenceNotice{UserId: p.UserID, Rooms: rooms})
	}
	return r.commit(ctx, commit)
}

func (r *Receiver) commit(ctx context.Context, c *persistence.Commit) error {
	if len(c.Write) == 0 {
		return nil
	}
	_, err := persistence.Await(ctx, r.d.Store, c)
	return err
}

// deviceUpdate takes in m.device_list_update.
func (r *Receiver) deviceUpdate(ctx context.Context, origin string, raw []byte) error {
	var update devicelists.Update
	if !r.decode(origin, raw, &update) || !of(origin, update.UserID) {
		return nil
	}
	return r.d.Devices.Update(ctx, update)
}

// signingKeys takes in m.signing_key_update.
func (r *Receiver) signingKeys(ctx context.Context, origin string, raw []byte) error {
	var update struct {
		UserID      string         `json:"user_id"`
		Master      jsontext.Value `json:"master_key"`
		SelfSigning jsontext.Value `json:"self_signing_key"`
	}
	if !r.decode(origin, raw, &update) || !of(origin, update.UserID) {
		return nil
	}
	return r.d.Devices.SigningKeys(ctx, update.UserID, update.Master, update.SelfSigning)
}
