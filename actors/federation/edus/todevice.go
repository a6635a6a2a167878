package edus

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one m.direct_to_device: bytes of a message's id, of a type, and what the messages may fill together.
const (
	messageID    = 255
	messageType  = 255
	inboxTargets = 10_000
	inboxBytes   = 32 << 20
)

// toDevice takes in m.direct_to_device: messages into the inboxes of our users' devices, once for each message id.
func (r *Receiver) toDevice(ctx context.Context, origin string, raw []byte) error {
	var content struct {
		Sender    string                               `json:"sender"`
		Type      string                               `json:"type"`
		MessageID string                               `json:"message_id"`
		Messages  map[string]map[string]jsontext.Value `json:"messages"`
	}
	if !r.decode(origin, raw, &content) || !of(origin, content.Sender) || content.Type == "" || len(content.Type) > messageType ||
		content.MessageID == "" || len(content.MessageID) > messageID {
		return nil
	}
	seen := schema.InboundMessage{Day: r.d.Now().UnixMilli() / (24 * time.Hour).Milliseconds(), Sender: content.Sender, MessageID: content.MessageID}
	if known, err := r.delivered(ctx, seen); err != nil || known {
		return err
	}
	mark := schema.InboundMessages.Put(seen)
	commit := &persistence.Commit{Write: []persistence.Mutation{mark}, Absent: []persistence.Mutation{mark}}
	size, n := 0, uint64(0)
	for userID, byDevice := range content.Messages {
		if id.ServerOf(userID) != r.d.ServerName {
			continue
		}
		devices, err := keys.Addressed(ctx, r.d.Store, userID, byDevice)
		if err != nil {
			return err
		}
		notice := &messages.UserNotice{UserId: userID}
		for device, message := range devices {
			if size += len(message); message.Kind() != '{' || n == inboxTargets || size > inboxBytes {
				continue
			}
			commit.Write = append(commit.Write, schema.ToDevices.Put(schema.ToDevice{UserID: userID, DeviceID: device, N: n, Sender: content.Sender, Type: content.Type, Content: message}))
			notice.ToDevice = append(notice.ToDevice, device)
			n++
		}
		if len(notice.ToDevice) > 0 {
			commit.Notices = append(commit.Notices, notice)
		}
	}
	if n == 0 {
		return nil
	}
	err := r.commit(ctx, commit)
	if errors.Is(err, persistence.ErrExists) { // the same, at the same time
		return nil
	}
	return err
}

// delivered reports whether the message came before, today or the day before.
func (r *Receiver) delivered(ctx context.Context, m schema.InboundMessage) (bool, error) {
	for range 2 {
		if _, ok, err := schema.InboundMessages.Get(ctx, r.d.Store, m); err != nil || ok {
			return ok, err
		}
		m.Day--
	}
	return false, nil
}
