package appservice

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one transaction: so many of each kind, and about so many bytes, beyond which at most one commit's part goes.
const (
	batchEvents = 100
	batchBytes  = 1 << 20
)

// readAtOnce is how many entries of the feed are read before what was found is sent.
const readAtOnce = 512

// batch is a transaction in the making.
type batch struct {
	*pump
	ctx context.Context
	of  *appservice.Registration

	events    []jsontext.Value
	ephemeral []jsontext.Value
	toDevice  []jsontext.Value
	changed   []string // users whose device lists changed
	left      []string // users with whom no room is shared any more
	counts    map[device]bool
	size      int
	drop      messages.DeviceMessages
}

// device is a device whose keys are counted.
type device struct{ userID, deviceID string }

func (b *batch) empty() bool {
	return len(b.events)+len(b.ephemeral)+len(b.toDevice)+len(b.changed)+len(b.left)+len(b.counts) == 0
}

func (b *batch) full() bool {
	return b.size >= batchBytes || max(len(b.events), len(b.ephemeral), len(b.toDevice), len(b.changed), len(b.left), len(b.counts)) >= batchEvents
}

// read takes in the feed from where the queue stands, and moves that on. It reports whether there is more.
func (b *batch) read(at *schema.AppserviceQueue) (more bool, err error) {
	upTo := uint64(b.deps.Store.Position())
	entries, err := schema.Feed.All(b.ctx, b.deps.Store, persistence.Range[schema.FeedEntry]{
		From: &schema.FeedEntry{Pos: at.Pos}, Before: &schema.FeedEntry{Pos: upTo + 1}, Limit: readAtOnce})
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if entry.Pos != at.Pos {
			at.Pos, at.Skip = entry.Pos, 0
		}
		done, err := b.entry(entry, at)
		if err != nil || !done {
			return true, err
		}
		at.Pos, at.Skip = entry.Pos+1, 0
	}
	if len(entries) == readAtOnce {
		return true, nil
	}
	if upTo >= at.Pos {
		at.Pos, at.Skip = upTo+1, 0
	}
	return false, b.typing()
}

// entry takes in what one commit told, after the parts that are done. It reports whether that is all of it.
func (b *batch) entry(entry schema.FeedEntry, at *schema.AppserviceQueue) (bool, error) {
	var told messages.FeedNotices
	if err := proto.Unmarshal(entry.Notices, &told); err != nil {
		return false, err
	}
	part := uint64(0)
	for _, notice := range told.Notices {
		for _, take := range b.parts(notice, entry.Pos) {
			if part++; part <= at.Skip {
				continue
			}
			if b.full() {
				return false, nil
			}
			if err := take(); err != nil {
				return false, err
			}
			at.Skip = part
		}
	}
	return true, nil
}

// parts are what a notice is made of, each to be taken in whole.
func (b *batch) parts(notice *messages.FeedNotice, pos uint64) []func() error {
	var parts []func() error
	if n := notice.Room; n != nil {
		for _, e := range n.Events {
			parts = append(parts, func() error { return b.event(n.RoomId, e) })
		}
		if len(n.Receipts) > 0 {
			parts = append(parts, func() error { return b.receipts(n) })
		}
	}
	if n := notice.User; n != nil {
		parts = append(parts, func() error { return b.inbox(n, pos) })
	}
	if n := notice.DeviceList; n != nil {
		parts = append(parts, func() error { return b.deviceList(n) })
	}
	if n := notice.Presence; n != nil {
		parts = append(parts, func() error { return b.presence(n) })
	}
	return parts
}

// event takes in an event if the application service is interested in it (application service API, "Registration"): one of its users
// sent it or is whom it is about, or is in the room before or after it, or the room is one of its namespaces.
func (b *batch) event(roomID string, e *messages.RoomEvent) error {
	if e.Seq == 0 {
		return b.outside(roomID, e)
	}
	before, err := b.rooms.before(b.ctx, roomID, e.Seq)
	if err != nil {
		return err
	}
	after, err := b.rooms.step(b.ctx, roomID, e)
	if err != nil || e.Status != schema.Accepted {
		return err
	}
	interested := before > 0 || after > 0 || b.of.Owns(e.Sender) || e.StateKey != nil && b.of.Owns(*e.StateKey)
	if !interested {
		if interested, err = b.rooms.named(b.ctx, roomID); err != nil || !interested {
			return err
		}
	}
	if err := b.membership(roomID, e, after); err != nil {
		return err
	}
	row, err := b.deps.Reader.EventAt(b.ctx, roomID, e.Seq)
	if err != nil {
		return err
	}
	shown, err := b.deps.Reader.Whole(b.ctx, row)
	if err != nil {
		return err
	}
	b.events = append(b.events, shown)
	b.size += len(shown)
	return nil
}

// transaction is the body of a transaction. What is not in the specification, or was not when bridges were written, stands under the
// names of the proposals too (MSC2409, MSC3202, MSC4203).
type transaction struct {
	Events          []jsontext.Value                       `json:"events"`
	Ephemeral       []jsontext.Value                       `json:"ephemeral,omitempty"`
	Ephemeral2409   []jsontext.Value                       `json:"de.sorunome.msc2409.ephemeral,omitempty"`
	ToDevice        []jsontext.Value                       `json:"to_device,omitempty"`
	ToDevice2409    []jsontext.Value                       `json:"de.sorunome.msc2409.to_device,omitempty"`
	DeviceLists     *deviceLists                           `json:"device_lists,omitempty"`
	DeviceLists3202 *deviceLists                           `json:"org.matrix.msc3202.device_lists,omitempty"`
	OneTime         map[string]map[string]map[string]int64 `json:"device_one_time_keys_count,omitempty"`
	OneTime3202     map[string]map[string]map[string]int64 `json:"org.matrix.msc3202.device_one_time_keys_count,omitempty"`
	OneTimeOld      map[string]map[string]map[string]int64 `json:"org.matrix.msc3202.device_one_time_key_counts,omitempty"`
	Fallback        map[string]map[string][]string         `json:"device_unused_fallback_key_types,omitempty"`
	Fallback3202    map[string]map[string][]string         `json:"org.matrix.msc3202.device_unused_fallback_key_types,omitempty"`
}

type deviceLists struct {
	Changed []string `json:"changed"`
	Left    []string `json:"left"`
}

// body is the transaction as it is sent.
func (b *batch) body() ([]byte, error) {
	t := transaction{Events: b.events, Ephemeral: b.ephemeral, Ephemeral2409: b.ephemeral, ToDevice: b.toDevice, ToDevice2409: b.toDevice}
	if len(b.changed)+len(b.left) > 0 {
		t.DeviceLists = &deviceLists{unique(b.changed), unique(b.left)}
		t.DeviceLists3202 = t.DeviceLists
	}
	if err := b.countKeys(&t); err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

func unique(users []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(users)))
}
