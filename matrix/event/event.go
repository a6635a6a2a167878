// Package event is the persistent event (PDU) of a room: its format by room version, hashes, signatures, id and
// redaction (server-server API, "PDUs" and "Signing Events"; rooms/v1 to v12).
package event

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

// The limits of the specification (client-server API, "Size limits"), in bytes.
const (
	MaxSize = 65536 // of the whole event in federation format, signatures included
	MaxKey  = 255   // of sender, room_id, state_key, type and event_id
	// MaxPrevEvents and MaxAuthEvents bound what an event may cite.
	MaxPrevEvents = 20
	MaxAuthEvents = 10
)

// Tuple is a place in a room's state.
type Tuple struct{ Type, StateKey string }

// Event is an immutable PDU of a known room version, safe for concurrent reading.
type Event struct {
	version        *roomversion.Version
	id             string
	roomID         string
	typ            string
	stateKey       string
	isState        bool
	sender         string
	content        []byte
	originServerTS int64
	depth          int64
	prevEvents     []string
	authEvents     []string
	redacts        string
	json           []byte
	hashOK         bool
}

// ID is the event id.
func (e *Event) ID() string { return e.id }

// RoomID is the room's id; for the create event of room version 12 it comes from the event's own id.
func (e *Event) RoomID() string { return e.roomID }

// Type is the event type.
func (e *Event) Type() string { return e.typ }

// StateKey gives the state key, and whether the event is a state event at all.
func (e *Event) StateKey() (string, bool) { return e.stateKey, e.isState }

// IsState reports whether the event is a state event.
func (e *Event) IsState() bool { return e.isState }

// Tuple is the place in the state that a state event takes.
func (e *Event) Tuple() Tuple { return Tuple{e.typ, e.stateKey} }

// Sender is the user id of the sender.
func (e *Event) Sender() string { return e.sender }

// Content is the content, a canonical JSON object. It must not be changed.
func (e *Event) Content() []byte { return e.content }

// OriginServerTS is when the sender's server made the event, in ms since 1970 by its own clock.
func (e *Event) OriginServerTS() int64 { return e.originServerTS }

// Depth is one more than the greatest depth of the previous events.
func (e *Event) Depth() int64 { return e.depth }

// PrevEvents are the ids of the events before this one in the graph.
func (e *Event) PrevEvents() []string { return e.prevEvents }

// AuthEvents are the ids of the events that authorise this one.
func (e *Event) AuthEvents() []string { return e.authEvents }

// Redacts is the id of the event that a redaction redacts, from where the room version puts it.
func (e *Event) Redacts() string { return e.redacts }

// Membership is the membership of an m.room.member event, "" when it has none.
func (e *Event) Membership() string {
	if m := gjson.GetBytes(e.content, "membership"); m.Type == gjson.String {
		return m.Str
	}
	return ""
}

// JSON is the PDU in canonical form, with hashes and signatures, without unsigned. It must not be changed.
func (e *Event) JSON() []byte { return e.json }

// Version is the version of the room.
func (e *Event) Version() *roomversion.Version { return e.version }

// HashOK reports whether the content hash matched. An event for which it did not has been redacted by Parse.
func (e *Event) HashOK() bool { return e.hashOK }

// Signatures lists who signed the event: server name → key id → signature.
func (e *Event) Signatures() map[string]map[string]string {
	all := map[string]map[string]string{}
	member(read(e.json), "signatures").ForEach(func(entity, keys gjson.Result) bool {
		all[entity.Str] = map[string]string{}
		keys.ForEach(func(keyID, signature gjson.Result) bool {
			all[entity.Str][keyID.Str] = signature.Str
			return true
		})
		return true
	})
	return all
}

// VerifySignature checks the signature of a server by one of its keys: signing.ErrNotSigned or signing.ErrBadSignature.
func (e *Event) VerifySignature(entity, keyID string, public ed25519.PublicKey) error {
	signature, ok := "", false
	member(member(read(e.json), "signatures"), entity).ForEach(func(name, value gjson.Result) bool {
		if name.Str == keyID {
			signature, ok = value.Str, true
		}
		return true
	})
	if !ok {
		return signing.ErrNotSigned
	}
	return signing.Verify(parse(e.json).redact(e.version, e.typ).without("signatures", "unsigned").bytes(nil), signature, public)
}

// member is a member of an object by its plain name.
func member(object gjson.Result, name string) (value gjson.Result) {
	object.ForEach(func(n, v gjson.Result) bool {
		if n.Str == name {
			value = v
		}
		return true
	})
	return value
}

// Sign gives the event with one more signature, for example of the server that authorises a restricted join.
func (e *Event) Sign(entity string, key signing.Key) (*Event, error) {
	return e.WithSignature(entity, key.ID, signing.Sign(parse(e.json).redact(e.version, e.typ).without("signatures", "unsigned").bytes(nil), key))
}

// WithSignature gives the event with a signature that somebody else has made. It is not checked.
func (e *Event) WithSignature(entity, keyID, signature string) (*Event, error) {
	signatures := e.Signatures()
	if signatures[entity] == nil {
		signatures[entity] = map[string]string{}
	}
	signatures[entity][keyID] = signature
	raw, err := canonicaljson.Marshal(signatures)
	if err != nil {
		return nil, err
	}
	signed := *e
	if signed.json = parse(e.json).with("signatures", raw).bytes(nil); len(signed.json) > MaxSize {
		return nil, tooLarge(len(signed.json))
	}
	return &signed, nil
}

// Redacted gives the pruned event; its id is the same (rooms, "Redactions").
func (e *Event) Redacted() *Event {
	pruned, err := FromStored(parse(e.json).redact(e.version, e.typ).bytes(nil), e.id, e.version)
	if err != nil {
		panic("event: the redaction of an event is not an event: " + err.Error())
	}
	pruned.hashOK = e.hashOK
	return pruned
}

// Parse reads an event that came from elsewhere: canonical JSON of the room version, format, sizes. Its id is computed; its
// signatures are not checked. When the content hash does not match, the event is redacted, as the
// specification has it. Errors are *mxerr.Error.
func Parse(raw []byte, v *roomversion.Version) (*Event, error) {
	canonical, err := canonicaljson.Canonicalize(nil, raw, canonicaljson.Options{Strict: v.StrictCanonicalJSON})
	if err != nil {
		return nil, mxerr.BadJSON("the event is not canonical JSON of room version %s: %v", v.ID, err)
	}
	if canonical[0] != '{' {
		return nil, mxerr.BadJSON("an event must be a JSON object")
	}
	fs, whole := parse(canonical), canonical
	if _, ok := fs.get("unsigned"); ok {
		fs = fs.without("unsigned")
		whole = fs.bytes(make([]byte, 0, len(canonical)))
	}
	if len(whole) > MaxSize {
		return nil, tooLarge(len(whole))
	}
	if err := checkFormat(fs, v); err != nil {
		return nil, err
	}
	hashes, _ := fs.get("hashes")
	hash := member(read(hashes), "sha256")
	hashOK := hash.Type == gjson.String && sameHash(hash.Str, contentHash(fs))
	if !hashOK {
		fs = fs.redact(v, fs.text("type"))
		whole = fs.bytes(nil)
	}
	e, err := FromStored(whole, eventID(fs, v), v)
	if err != nil {
		return nil, err
	}
	e.hashOK = hashOK
	return e, checkIDs(e)
}

func sameHash(claimed string, hash []byte) bool {
	b, err := signing.DecodeBase64(claimed)
	return err == nil && string(b) == string(hash)
}

// FromStored reads an event that JSON gave earlier. It trusts it and hashes nothing.
func FromStored(raw []byte, eventID string, v *roomversion.Version) (*Event, error) {
	e := &Event{version: v, id: eventID, json: raw, hashOK: true}
	read(raw).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "type":
			e.typ = value.Str
		case "state_key":
			e.stateKey, e.isState = value.Str, true
		case "sender":
			e.sender = value.Str
		case "room_id":
			e.roomID = value.Str
		case "content":
			e.content = raw[value.Index : value.Index+len(value.Raw)]
		case "origin_server_ts":
			e.originServerTS = integerOf(value)
		case "depth":
			e.depth = integerOf(value)
		case "prev_events":
			e.prevEvents = cited(value)
		case "auth_events":
			e.authEvents = cited(value)
		case "redacts":
			e.redacts = value.Str
		}
		return true
	})
	if e.typ == "" || e.content == nil {
		return nil, mxerr.BadJSON("the stored event %s is not an event", eventID)
	}
	switch {
	case e.typ != "m.room.redaction":
		e.redacts = ""
	case v.RedactsInContent:
		e.redacts = gjson.GetBytes(e.content, "redacts").Str
	}
	if v.RoomIDFromCreate && e.typ == "m.room.create" && e.isState && e.stateKey == "" && e.roomID == "" {
		e.roomID = "!" + eventID[1:]
	}
	return e, nil
}

// cited reads ids from prev_events or auth_events: strings, or in room versions 1 and 2 pairs of an id and hashes.
func cited(list gjson.Result) []string {
	var ids []string
	list.ForEach(func(_, entry gjson.Result) bool {
		if entry.IsArray() {
			entry = entry.Get("0")
		}
		ids = append(ids, entry.Str)
		return true
	})
	return ids
}

// contentHash is the SHA-256 of the event without what is signed or added later (server-server API, "Calculating the Content Hash").
func contentHash(fs fields) []byte {
	h := sha256.Sum256(fs.without("hashes", "signatures", "unsigned").bytes(nil))
	return h[:]
}

// eventID computes the event's id, or reads it in room versions 1 and 2.
func eventID(fs fields, v *roomversion.Version) string {
	if v.EventIDFormat == roomversion.EventIDField {
		return fs.text("event_id")
	}
	return idOf(fs.redact(v, fs.text("type")).without("signatures", "unsigned").bytes(nil), v)
}

// idOf makes an event id of the bytes that are signed (server-server API, "Calculating the Reference Hash").
func idOf(signed []byte, v *roomversion.Version) string {
	h := sha256.Sum256(signed)
	if v.EventIDFormat == roomversion.EventIDBase64 {
		return "$" + base64.RawStdEncoding.EncodeToString(h[:])
	}
	return "$" + base64.RawURLEncoding.EncodeToString(h[:])
}

func tooLarge(size int) error {
	return mxerr.TooLarge("the event has %d bytes; at most %d are allowed", size, MaxSize)
}

// checkIDs checks what the format check could not: ids by their grammar, once the event's own id is known.
func checkIDs(e *Event) error {
	switch {
	case !id.ValidUser(e.sender):
		return mxerr.BadJSON("the event's sender is not a user id")
	case !id.ValidRoomID(e.roomID):
		return mxerr.BadJSON("the event's room_id is not a room id")
	case !id.ValidEventID(e.id):
		return mxerr.BadJSON("the event's event_id is not an event id")
	}
	return nil
}

func quoted(s string) []byte { return canonicaljson.AppendString(make([]byte, 0, len(s)+2), s) }

func integer(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
