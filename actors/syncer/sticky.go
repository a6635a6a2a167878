package syncer

import (
	"slices"

	"github.com/matrixon/matrixon/persistence/schema"
)

// sticky gives the room's sticky events that are new to the client and not in its timeline, nil if there are none (MSC4354).
func (b *builder) sticky(st stretch, t timeline) (*Events, error) {
	after := b.plan.SincePos
	if st.fresh {
		after = 0
	}
	stuck, err := b.reader.Sticky(b.ctx, st.room, after, b.plan.Pos)
	if err != nil {
		return nil, err
	}
	stuck = slices.DeleteFunc(stuck, func(s schema.StickyEvent) bool { return shownInTimeline(t, s.Seq) })
	if len(stuck) == 0 {
		return nil, nil
	}
	rows, err := st.access.StickyEvents(b.ctx, stuck)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	events, err := st.access.Client(b.ctx, b.view(), rows...)
	if err != nil {
		return nil, err
	}
	b.trim(events)
	return &Events{events}, nil
}
