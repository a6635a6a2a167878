package actortest

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// J is a JSON object.
type J = map[string]any

// Device is a device of a user, and where its sync stands.
type Device struct {
	World    *World
	User, ID string
	Since    string // the token of the last Sync

	txns int
}

// User makes a user with one device, DEVICE.
func (w *World) User(name string) *Device {
	w.T.Helper()
	userID := "@" + name + ":" + ServerName
	w.Write(schema.Accounts.Put(schema.Account{UserID: userID, CreatedTS: w.Clock.Now().UnixMilli()}))
	return w.device(userID, "DEVICE")
}

func (w *World) device(userID, device string) *Device {
	w.T.Helper()
	w.Write(schema.Devices.Put(schema.Device{UserID: userID, DeviceID: device}))
	return &Device{World: w, User: userID, ID: device}
}

// With is another device of the same user.
func (d *Device) With(device string) *Device {
	d.World.T.Helper()
	return d.World.device(d.User, device)
}

// By says who asks.
func (d *Device) By() *messages.Requester {
	return &messages.Requester{UserId: d.User, DeviceId: d.ID}
}

// JSON gives the JSON of a value.
func (w *World) JSON(v any) []byte {
	w.T.Helper()
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		w.T.Fatal(err)
	}
	return raw
}

// Create makes a room and gives its id. The body is that of POST /createRoom.
func (d *Device) Create(body J) string {
	d.World.T.Helper()
	var req room.CreateRequest
	if err := json.Unmarshal(d.World.JSON(body), &req); err != nil {
		d.World.T.Fatal(err)
	}
	id, err := d.World.Creator.Create(context.Background(), d.By(), req)
	if err != nil {
		d.World.T.Fatal(err)
	}
	return id
}

// AskRoom asks a room, and AskUser a user. Both wait until everybody has been told of what came of it.
func (w *World) AskRoom(roomID string, m proto.Message) (proto.Message, error) {
	return w.ask(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, m)
}

// AskUser asks a user's actor.
func (w *World) AskUser(userID string, m proto.Message) (proto.Message, error) {
	return w.ask(cluster.Identity{Kind: cluster.KindUser, ID: userID}, m)
}

func (w *World) ask(to cluster.Identity, m proto.Message) (proto.Message, error) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := w.Node.Ask(ctx, to, m)
	w.Settle()
	return answer, err
}

// Room asks a room for something that must succeed, and gives the event's id if it is about one.
func (d *Device) Room(roomID string, m proto.Message) string {
	d.World.T.Helper()
	answer, err := d.World.AskRoom(roomID, m)
	if err != nil {
		d.World.T.Fatalf("%s: %v: %v", d.User, m, err)
	}
	if sent, ok := answer.(*messages.EventSent); ok {
		return sent.EventId
	}
	return ""
}

// Must asks the device's user for something that must succeed, and gives the answer.
func Must[A proto.Message](d *Device, m proto.Message) A {
	d.World.T.Helper()
	answer, err := d.World.AskUser(d.User, m)
	if err != nil {
		d.World.T.Fatalf("%s: %v: %v", d.User, m, err)
	}
	typed, ok := answer.(A)
	if !ok {
		d.World.T.Fatalf("%s: %v: answered with a %T", d.User, m, answer)
	}
	return typed
}

// Refused asks the device's user for something that must be refused so.
func (d *Device) Refused(m proto.Message, status int, code string) *mxerr.Error {
	d.World.T.Helper()
	answer, err := d.World.AskUser(d.User, m)
	var e *mxerr.Error
	if !errors.As(err, &e) {
		d.World.T.Fatalf("%s: %v: answered %v %v, want %d %s", d.User, m, answer, err, status, code)
	}
	if e.Status != status || e.Code != code || e.Message == "" {
		d.World.T.Fatalf("%s: %v: refused with %d %s %q, want %d %s", d.User, m, e.Status, e.Code, e.Message, status, code)
	}
	return e
}

// Send sends a message event and gives its id.
func (d *Device) Send(roomID, typ string, content J) string {
	d.World.T.Helper()
	d.txns++
	return d.Room(roomID, &messages.SendEvent{By: d.By(), TxnId: "t" + strconv.Itoa(d.txns),
		Event: &messages.Proposal{Type: typ, Sender: d.User, Content: d.World.JSON(content)}})
}

// Say sends a text and gives the event's id.
func (d *Device) Say(roomID, text string) string {
	d.World.T.Helper()
	return d.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": text})
}

// SetState sends a state event and gives its id.
func (d *Device) SetState(roomID, typ, stateKey string, content J) string {
	d.World.T.Helper()
	return d.Room(roomID, &messages.SendEvent{By: d.By(),
		Event: &messages.Proposal{Type: typ, StateKey: &stateKey, Sender: d.User, Content: d.World.JSON(content)}})
}

// Member changes a membership, the device's own unless the action is about another's, and gives the event's id.
func (d *Device) Member(roomID string, action messages.ChangeMembership_Action, target *Device) string {
	d.World.T.Helper()
	return d.Room(roomID, &messages.ChangeMembership{By: d.By(), Action: action, Target: target.User})
}

// Join joins a room.
func (d *Device) Join(roomID string) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_JOIN, d)
}

// Leave leaves a room, rejects an invite or retracts a knock.
func (d *Device) Leave(roomID string) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_LEAVE, d)
}

// Knock asks to be invited.
func (d *Device) Knock(roomID string) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_KNOCK, d)
}

// Invite invites somebody.
func (d *Device) Invite(roomID string, other *Device) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_INVITE, other)
}

// Kick throws somebody out.
func (d *Device) Kick(roomID string, other *Device) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_KICK, other)
}

// Ban bans somebody.
func (d *Device) Ban(roomID string, other *Device) string {
	d.World.T.Helper()
	return d.Member(roomID, messages.ChangeMembership_BAN, other)
}

// Forget forgets a room.
func (d *Device) Forget(roomID string) {
	d.World.T.Helper()
	d.Room(roomID, &messages.Forget{By: d.By()})
}

// SetData sets account data, of a room or, with an empty room id, global.
func (d *Device) SetData(roomID, typ string, content J) {
	d.World.T.Helper()
	Must[*messages.Done](d, &messages.SetAccountData{RoomId: roomID, Type: typ, Content: d.World.JSON(content)})
}

// Read moves a receipt: m.read or m.read.private, of a thread, of main, or of all when empty.
func (d *Device) Read(roomID, typ, eventID, thread string) {
	d.World.T.Helper()
	d.Room(roomID, &messages.SendReceipt{By: d.By(), ReceiptType: typ, EventId: eventID, ThreadId: thread})
}
