package reader

import (
	"context"
	"fmt"
	"iter"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// AuthChain walks the events that authorise those that are added to it, and those that authorise them, and so on: each once. It is not
// safe for concurrent use.
type AuthChain struct {
	r       *Reader
	roomID  string
	version *roomversion.Version
	seen    map[string]bool
	waiting []string
}

// AuthChain makes an empty chain of a room.
func (r *Reader) AuthChain(ctx context.Context, roomID string) (*AuthChain, error) {
	version, err := r.Version(ctx, roomID)
	if err != nil {
		return nil, err
	}
	return &AuthChain{r: r, roomID: roomID, version: version, seen: map[string]bool{}}, nil
}

// Add makes the chain hold what authorises the event. The event itself is in it only when it authorises another.
func (c *AuthChain) Add(row *schema.Event) error {
	e, err := stored(row, c.version)
	if err != nil {
		return err
	}
	for _, id := range e.AuthEvents() {
		c.want(id)
	}
	if c.version.RoomIDFromCreate && e.Type() != "m.room.create" { // which no event of these versions cites
		c.want("$" + c.roomID[1:])
	}
	return nil
}

func (c *AuthChain) want(id string) {
	if !c.seen[id] {
		c.seen[id] = true
		c.waiting = append(c.waiting, id)
	}
}

// All reads the chain. It ends with the first error.
func (c *AuthChain) All(ctx context.Context) iter.Seq2[schema.Event, error] {
	return func(yield func(schema.Event, error) bool) {
		for len(c.waiting) > 0 {
			id := c.waiting[len(c.waiting)-1]
			c.waiting = c.waiting[:len(c.waiting)-1]
			row, ok, err := c.r.Stored(ctx, c.roomID, id)
			if err == nil && !ok {
				err = fmt.Errorf("%w: room %s lacks the event %s, which authorises others", persistence.ErrCorrupt, c.roomID, id)
			}
			if err == nil {
				err = c.Add(&row)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func stored(row *schema.Event, version *roomversion.Version) (*event.Event, error) {
	e, err := event.FromStored(row.JSON, row.EventID, version)
	if err != nil {
		return nil, fmt.Errorf("%w: event %s: %w", persistence.ErrCorrupt, row.EventID, err)
	}
	return e, nil
}
