package sliding

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// extensions answers those that are asked for.
func (b *builder) extensions() error {
	x := &b.req.Extensions
	parts := []struct {
		asked bool
		build func() error
	}{
		{x.ToDevice != nil, b.toDevice}, {x.E2EE, b.e2ee}, {x.AccountData != nil, b.accountData},
		{x.Receipts != nil, b.receipts}, {x.Typing != nil, b.typing}, {x.ThreadSubscriptions > 0, b.threadSubscriptions}, {x.Sticky != nil, b.sticky},
		{x.Profiles != nil, b.profiles},
	}
	for _, p := range parts {
		if !p.asked {
			continue
		}
		if err := p.build(); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) toDevice() error {
	q := b.req.Extensions.ToDevice
	events, upTo, err := syncer.Inbox(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID, q.Since, b.plan.Pos, q.Limit)
	if events == nil {
		events = []jsontext.Value{}
	}
	b.resp.Extensions.ToDevice = &ToDeviceResult{NextBatch: token.Inbox{Pos: upTo}.String(), Events: events}
	b.news = b.news || len(events) > 0
	return err
}

func (b *builder) e2ee() (err error) {
	result := &E2EEResult{}
	if b.since > 0 {
		if result.DeviceLists, err = b.syncer.DeviceListsBetween(b.ctx, b.req.UserID, b.changedRooms(), b.plan.DeviceLists > b.since, b.since, b.plan.Pos); err != nil {
			return err
		}
		b.news = b.news || len(result.DeviceLists.Changed)+len(result.DeviceLists.Left) > 0
	}
	if result.OneTimeKeys, err = keys.OneTimeKeyCounts(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID); err != nil {
		return err
	}
	if result.UnusedFallback, err = keys.UnusedFallbackKeys(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID); err != nil {
		return err
	}
	b.resp.Extensions.E2EE = result
	return nil
}

// changedRooms are those in which something happened since the position of the request.
func (b *builder) changedRooms() []string {
	var rooms []string
	for _, r := range b.plan.Rooms {
		if r.Activity > b.since || r.Member > b.since {
			rooms = append(rooms, r.RoomId)
		}
	}
	return rooms
}

// covered calls do for the rooms that an extension is about. Rooms that the client has yet to get are not among them.
func (b *builder) covered(s *Scope, do func(*room) error) error {
	for _, r := range b.chosen {
		if r.postponed && r.sent == nil || r.stamps.Membership == "invite" || r.stamps.Membership == "knock" || !s.covers(r.id, r.lists, r.subscribed) {
			continue
		}
		if s, ok := b.became[r.id]; ok && s == nil || !ok && r.sent == nil {
			continue
		}
		if err := do(r); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) accountData() error {
	result := &AccountDataResult{Global: []jsontext.Value{}, Rooms: map[string][]jsontext.Value{}}
	b.resp.Extensions.AccountData = result
	if b.since == 0 || b.plan.AccountData > b.since {
		rows, err := syncer.AccountData(b.ctx, b.reader.Store(), b.req.UserID, "", b.since)
		if err != nil {
			return err
		}
		if b.since == 0 || slices.ContainsFunc(rows, func(row schema.AccountData) bool { return row.Type == "m.push_rules" }) {
			if rows, err = syncer.WithPushRules(b.req.UserID, rows); err != nil {
				return err
			}
		}
		result.Global = syncer.AccountEvents(rows)
	}
	err := b.covered(b.req.Extensions.AccountData, func(r *room) error {
		since := r.sent.GetAccountData()
		if r.begins {
			since = 0
		}
		if since > 0 && r.stamps.AccountData <= since {
			return nil
		}
		rows, err := syncer.AccountData(b.ctx, b.reader.Store(), b.req.UserID, r.id, since)
		if err != nil {
			return err
		}
		b.becomes(r).AccountData = b.plan.Pos
		if len(rows) > 0 {
			result.Rooms[r.id] = syncer.AccountEvents(rows)
		}
		return nil
	})
	b.news = b.news || len(result.Global)+len(result.Rooms) > 0
	return err
}

func (b *builder) receipts() error {
	result := &RoomEvents{Rooms: map[string]jsontext.Value{}}
	b.resp.Extensions.Receipts = result
	err := b.covered(b.req.Extensions.Receipts, func(r *room) error {
		since := r.sent.GetReceipts()
		if !r.begins && r.timeline == nil && since > 0 && r.stamps.Receipts <= since {
			return nil
		}
		e, err := b.receiptsOf(r, since)
		if err != nil {
			return err
		}
		b.becomes(r).Receipts = b.plan.Pos
		if e != nil {
			result.Rooms[r.id] = e
		}
		return nil
	})
	b.news = b.news || len(result.Rooms) > 0
	return err
}

// receiptsOf gives a room's receipts that are new. Where a timeline begins it is those of its events and the user's own; where it was
// widened, those of its events besides.
func (b *builder) receiptsOf(r *room, since uint64) (jsontext.Value, error) {
	shown := map[string]bool{}
	for i := range r.timeline {
		shown[r.timeline[i].EventID] = true
	}
	found := syncer.NewReceipts(b.req.UserID, b.ignored)
	for row, err := range schema.Receipts.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.Receipt]{
		Prefix: schema.Receipt{RoomID: r.id}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if shown[row.EventID] || r.begins && row.UserID == b.req.UserID || !r.begins && row.Pos > since {
			found.Add(row)
		}
	}
	events, err := found.Events()
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return events[0], nil // there is room for one; it has the receipts without regard to threads
}

func (b *builder) typing() error {
	result := &RoomEvents{Rooms: map[string]jsontext.Value{}}
	b.resp.Extensions.Typing = result
	err := b.covered(b.req.Extensions.Typing, func(r *room) error {
		var now []string
		if r.stamps.Membership == "join" {
			now = slices.DeleteFunc(slices.Clone(r.stamps.Typing), func(u string) bool { return b.ignored[u] })
		}
		before := r.sent.GetTyping()
		if r.begins {
			before = nil
		}
		if slices.Equal(before, now) {
			return nil
		}
		e, err := syncer.Typing(now)
		if err != nil {
			return err
		}
		b.becomes(r).Typing = now
		result.Rooms[r.id] = e
		return nil
	})
	b.news = b.news || len(result.Rooms) > 0
	return err
}

func (b *builder) threadSubscriptions() error {
	page, err := b.reader.ThreadSubscriptions(b.ctx, b.req.UserID, reader.ThreadSubscriptions{
		After: b.since, Before: b.plan.Pos + 1, Limit: b.req.Extensions.ThreadSubscriptions})
	if err != nil {
		return err
	}
	result := &ThreadsResult{Subscribed: page.Subscribed, Unsubscribed: page.Unsubscribed}
	if page.More {
		result.PrevBatch = token.Subscriptions{Pos: page.Oldest}.String()
	}
	b.resp.Extensions.Threads = result
	b.news = b.news || len(result.Subscribed)+len(result.Unsubscribed) > 0
	return nil
}
