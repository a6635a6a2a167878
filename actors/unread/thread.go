package unread

import (
	"bytes"
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/persistence/schema"
)

// maxHops is how many relations are followed to find the thread of an event (client-server API, "Threaded read receipts").
const maxHops = 3

var relatesTo = []byte(`"m.relates_to"`)

// thread gives the root of the thread that the event is in, or Main.
func (c *Counter) thread(ctx context.Context, row *schema.Event) (string, error) {
	for range maxHops {
		relType, parent := relation(row)
		if relType == "" || parent == "" {
			return Main, nil
		}
		if relType == "m.thread" {
			return parent, nil
		}
		next, ok, err := c.event(ctx, row.RoomID, parent)
		if err != nil || !ok {
			return Main, err
		}
		row = &next
	}
	if relType, parent := relation(row); relType == "m.thread" && parent != "" {
		return parent, nil
	}
	return Main, nil
}

// relation gives what a message event says of its relation to another.
func relation(row *schema.Event) (relType, parent string) {
	if row.StateKey != nil || !bytes.Contains(row.JSON, relatesTo) {
		return "", ""
	}
	r := gjson.GetBytes(row.JSON, `content.m\.relates_to`)
	rel, id := r.Get("rel_type"), r.Get("event_id")
	if rel.Type != gjson.String || id.Type != gjson.String {
		return "", ""
	}
	return rel.Str, id.Str
}

func (c *Counter) event(ctx context.Context, roomID, eventID string) (schema.Event, bool, error) {
	ref, ok, err := schema.EventsByID.Get(ctx, c.store, schema.EventByID{RoomID: roomID, EventID: eventID})
	if err != nil || !ok {
		return schema.Event{}, false, err
	}
	row, ok, err := schema.Events.Get(ctx, c.store, schema.Event{RoomID: roomID, Seq: ref.Seq})
	return row, ok && row.Status == schema.Accepted, err
}
