package user

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// inboxBatch is how many acknowledged messages one commit deletes.
const inboxBatch = 500

// acknowledge deletes the to-device messages that the token says the device has. It is done in the lane, and is no
// matter of haste: until it has happened, readers skip these messages by the token.
func (a *actor) acknowledge(device string, since token.Sync) {
	if device == "" || since.ToDevice == 0 || since.ToDevice <= a.stamps.acknowledged[device] {
		return
	}
	drop := func(ctx context.Context, o *Op, _ proto.Message) (proto.Message, error) {
		return &messages.Done{}, dropInbox(ctx, o, device, since.ToDevice)
	}
	if a.lane.push(job{message: cluster.NewMessage(nil, nil), handler: Handler{name: "acknowledge", run: drop}}) {
		a.stamps.acknowledge(device, since.ToDevice)
		a.runLane()
	}
}

func dropInbox(ctx context.Context, o *Op, device string, upTo uint64) error {
	for {
		rows, err := schema.ToDevices.All(ctx, o.Store, persistence.Range[schema.ToDevice]{
			Prefix: schema.ToDevice{UserID: o.UserID, DeviceID: device}, Keys: 2,
			Before: &schema.ToDevice{Pos: upTo + 1}, Limit: inboxBatch,
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		writes := make([]persistence.Mutation, len(rows))
		for i, row := range rows {
			writes[i] = schema.ToDevices.Delete(row)
		}
		if _, err := o.Commit(ctx, writes, nil, Notices{}); err != nil {
			return err
		}
	}
}
