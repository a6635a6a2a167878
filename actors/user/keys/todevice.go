package keys

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one request: to how many devices it may send, how large each message may be, as an event, and how large
// they may be together, once for each device.
const (
	inboxTargets = 10_000
	inboxMessage = 65_536
	inboxBytes   = 32 << 20
)

// sendToDevice puts messages into the inboxes of local devices, in one commit with the transaction id, so that a
// retry delivers nothing twice. Devices that do not exist are passed over, as the specification has it.
func sendToDevice(ctx context.Context, o *user.Op, req *messages.SendToDevice) (*messages.Done, error) {
	txn := schema.Transaction{UserID: o.UserID, DeviceID: req.By.DeviceId, Scope: "to_device/" + req.Type, TxnID: req.TxnId}
	if _, seen, err := schema.Transactions.Get(ctx, o.Store, txn); err != nil || seen {
		return &messages.Done{}, err
	}
	var inbox map[string]map[string]jsontext.Value
	if err := json.Unmarshal(req.Messages, &inbox); err != nil {
		return nil, mxerr.BadJSON("messages must map user ids to device ids to contents: %v", err)
	}
	txn.TS = o.Now.UnixMilli()
	writes := []persistence.Mutation{schema.Transactions.Put(txn)}
	var notices user.Notices
	var elsewhere outbox
	size := 0
	for userID, byDevice := range inbox {
		for device, content := range byDevice {
			if content.Kind() != '{' {
				return nil, mxerr.BadJSON("the message for %s %s must be an object", userID, device)
			}
			if len(content) > inboxMessage {
				return nil, mxerr.TooLarge("the message for %s %s has %d bytes; at most %d are allowed", userID, device, len(content), inboxMessage)
			}
		}
		if id.ServerOf(userID) != id.ServerOf(o.UserID) {
			if !o.Federates {
				continue
			}
			if elsewhere.add(userID, byDevice); elsewhere.targets > inboxTargets || elsewhere.size > inboxBytes {
				return nil, tooMany()
			}
			continue
		}
		devices, err := Addressed(ctx, o.Store, userID, byDevice)
		if err != nil {
			return nil, err
		}
		notice := &messages.UserNotice{UserId: userID}
		for device, content := range devices {
			writes = append(writes, schema.ToDevices.Put(schema.ToDevice{
				UserID: userID, DeviceID: device, Sender: o.UserID, Type: req.Type, Content: content}))
			notice.ToDevice = append(notice.ToDevice, device)
			size += len(content)
		}
		if len(notice.ToDevice) > 0 {
			notices.Others = append(notices.Others, notice)
		}
		if len(writes) > inboxTargets || size > inboxBytes {
			return nil, tooMany()
		}
	}
	edus, err := elsewhere.edus(o, req)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, append(writes, edus...), nil, notices)
	return &messages.Done{}, err
}

func tooMany() error {
	return mxerr.TooLarge("messages may go to at most %d devices at once, and have %d bytes together", inboxTargets, inboxBytes)
}

// Addressed gives the content for each existing device of the user that is meant; "*" means all of them.
func Addressed(ctx context.Context, r persistence.Reader, userID string, byDevice map[string]jsontext.Value) (map[string]jsontext.Value, error) {
	contents := map[string]jsontext.Value{}
	for d, err := range schema.Devices.Scan(ctx, r, persistence.Range[schema.Device]{Prefix: schema.Device{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		content, ok := byDevice[d.DeviceID]
		if !ok {
			content, ok = byDevice["*"]
		}
		if ok {
			contents[d.DeviceID] = content
		}
	}
	return contents, nil
}
