package sliding

import (
	"cmp"
	"slices"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/persistence/schema"
)

// StickyQuery asks for sticky events that were told after a position (MSC4480).
type StickyQuery struct {
	Limit int
	Since uint64
}

// stuck is a sticky event of a room.
type stuck struct {
	room *room
	row  schema.StickyEvent
}

// sticky gives the sticky events of all rooms that lists let through, in their windows or not, and of those that are subscribed to: the oldest
// first, and not more than asked for, except that what a room had before the user came into it comes at once.
func (b *builder) sticky() error {
	q := b.req.Extensions.Sticky
	var found []stuck
	accesses := map[string]*reader.Access{}
	for _, r := range b.concerned() {
		if r.stamps.Activity <= q.Since {
			continue
		}
		rows, err := b.reader.Sticky(b.ctx, r.id, 0, b.plan.Pos)
		if err != nil {
			return err
		}
		if len(rows) == 0 { // as nearly always
			continue
		}
		after, access, err := b.stickySince(r)
		if err != nil {
			return err
		}
		accesses[r.id] = access
		for _, row := range rows {
			if access.Joined() && row.Pos > after {
				found = append(found, stuck{r, row})
			}
		}
	}
	slices.SortFunc(found, func(x, y stuck) int {
		return cmp.Or(cmp.Compare(x.row.Pos, y.row.Pos), cmp.Compare(x.room.id, y.room.id), cmp.Compare(x.row.Seq, y.row.Seq))
	})
	upTo := b.plan.Pos
	for i := q.Limit; i < len(found); i++ {
		if before := found[i-1].row.Pos; before > q.Since && before < found[i].row.Pos { // what was told together stays together
			found, upTo, b.news = found[:i], before, true
		}
	}
	result := &StickyResult{NextBatch: token.Inbox{Pos: upTo}.String(), Rooms: map[string]syncer.Events{}}
	for _, r := range b.concerned() {
		var rows []schema.StickyEvent
		for _, s := range found {
			inTimeline := func(e schema.Event) bool { return e.Seq == s.row.Seq }
			if s.room == r && !slices.ContainsFunc(r.rows, inTimeline) {
				rows = append(rows, s.row)
			}
		}
		if len(rows) == 0 {
			continue
		}
		events, err := accesses[r.id].StickyEvents(b.ctx, rows)
		if err != nil {
			return err
		}
		shown, err := accesses[r.id].Client(b.ctx, reader.View{DeviceID: b.req.DeviceID, Bundle: true}, events...)
		if err != nil {
			return err
		}
		if len(shown) > 0 {
			result.Rooms[r.id] = syncer.Events{Events: shown}
			b.news = true
		}
	}
	b.resp.Extensions.Sticky = result
	return nil
}

// concerned are the rooms that the user is in and that the request is about.
func (b *builder) concerned() []*room {
	var rooms []*room
	for _, r := range b.rooms {
		if r.stamps.Membership == "join" && (r.matched || r.subscribed) {
			rooms = append(rooms, r)
		}
	}
	return rooms
}

// stickySince tells after which position the room's sticky events are new to the user: all of them when the user has come into the room since.
func (b *builder) stickySince(r *room) (uint64, *reader.Access, error) {
	since := b.req.Extensions.Sticky.Since
	access, err := b.reader.Access(b.ctx, r.id, b.req.UserID)
	if err != nil {
		return 0, nil, err
	}
	if access.Joined() && r.stamps.Member > since {
		joined, err := b.reader.EventAt(b.ctx, r.id, access.Member.JoinedSeq)
		if err != nil {
			return 0, nil, err
		}
		if joined.Pos > since {
			since = 0
		}
	}
	return since, access, nil
}
