package unread

import (
	"context"
	"maps"
	"math"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// survey counts for one user in one room, with what the store says of them now. It serves one call.
type survey struct {
	c         *Counter
	member    schema.Membership
	basis     basis
	markers   markers
	evaluator *pushrules.Evaluator
	ignored   map[string]bool
	room      *roomFacts // nil until an event is judged
}

func (c *Counter) survey(ctx context.Context, m schema.Membership) (*survey, error) {
	j, err := c.judgment(ctx, m.UserID)
	if err != nil {
		return nil, err
	}
	ignored, err := c.ignored(ctx, m.UserID)
	if err != nil {
		return nil, err
	}
	s := &survey{c: c, member: m, evaluator: j.evaluator, ignored: ignored.users,
		basis: basis{joinedSeq: m.JoinedSeq, rulesPos: j.pos, ignoredPos: ignored.pos}}
	if j.evaluator.AsksForThreads() {
		if s.basis.threadsPos, err = c.subscribed(ctx, m.UserID); err != nil {
			return nil, err
		}
	}
	s.markers, err = c.markers(ctx, m.UserID, m.RoomID)
	return s, err
}

// tally counts up to the event with this number, going on from the old tally, which may be nil, where that is right.
func (s *survey) tally(ctx context.Context, old *tally, upto uint64) (*tally, error) {
	if old == nil || old.basis != s.basis || upto < old.upto || upto-old.upto > maxScan || s.markers.behind(&old.markers) {
		return s.anew(ctx, upto)
	}
	if upto == old.upto && s.markers.same(&old.markers) {
		return old, nil
	}
	t := &tally{basis: s.basis, markers: s.markers, upto: upto, counts: old.counts}
	if !s.markers.same(&old.markers) {
		t.counts.Threads = maps.Clone(t.counts.Threads)
		if err := s.reread(ctx, &t.counts, old); err != nil {
			return nil, err
		}
	}
	if upto == old.upto {
		return t, nil
	}
	t.counts.Threads = maps.Clone(t.counts.Threads)
	last, redactions, err := s.scan(ctx, &t.counts, old.upto, upto, nil)
	if err != nil {
		return nil, err
	}
	t.upto = last
	takenBack, err := s.takenBack(ctx, &t.counts, redactions)
	if err != nil {
		return nil, err
	}
	if takenBack {
		return s.anew(ctx, upto)
	}
	return t, nil
}

// takenBack reports whether the redactions may have taken back something unread, or an event of the user's own that read others.
func (s *survey) takenBack(ctx context.Context, counts *Counts, redactions []schema.Event) (bool, error) {
	if len(redactions) > 0 && (counts.Main.Notify > 0 || len(counts.Threads) > 0) {
		return true, nil
	}
	for i := range redactions {
		for _, path := range []string{"redacts", "content.redacts"} {
			target, ok, err := s.c.event(ctx, s.member.RoomID, gjson.GetBytes(redactions[i].JSON, path).Str)
			if err != nil || ok && target.Sender == s.member.UserID {
				return true, err
			}
		}
	}
	return false, nil
}

// anew counts from the last event that is read in every thread.
func (s *survey) anew(ctx context.Context, upto uint64) (*tally, error) {
	t := &tally{basis: s.basis, markers: s.markers}
	after := max(s.member.JoinedSeq, s.markers.room)
	if upto > maxScan && upto-maxScan > after {
		newest, err := s.newest(ctx, upto)
		if err != nil {
			return nil, err
		}
		if upto = newest; upto > maxScan {
			after = max(after, upto-maxScan)
		}
	}
	var err error
	t.upto, _, err = s.scan(ctx, &t.counts, after, upto, nil)
	return t, err
}

// newest is the number of the room's last event up to the one with this number.
func (s *survey) newest(ctx context.Context, upto uint64) (uint64, error) {
	q := s.events()
	q.Reverse, q.Limit = true, 1
	if upto < schema.OutlierBase {
		q.Before = &schema.Event{Seq: upto + 1}
	}
	rows, err := schema.Events.All(ctx, s.c.store, q)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Seq, nil
}

func (s *survey) events() persistence.Range[schema.Event] {
	return schema.Timeline(s.member.RoomID)
}

// reread counts again the threads in which receipts have moved over something unread.
func (s *survey) reread(ctx context.Context, counts *Counts, old *tally) error {
	moved := map[string]bool{}
	after := uint64(math.MaxUint64)
	consider := func(thread string) {
		if to := s.markers.of(thread); to > old.markers.of(thread) {
			moved[thread] = true
			after = min(after, to)
		}
	}
	if counts.Main.Notify > 0 {
		consider(Main)
	}
	for thread := range counts.Threads {
		consider(thread)
	}
	for thread := range moved {
		counts.set(thread, Count{})
	}
	if after >= old.upto {
		return nil
	}
	_, _, err := s.scan(ctx, counts, after, old.upto, moved)
	return err
}

// scan adds the events after the one number up to the other to the counts, of all threads or of some. It gives the number of
// the last event that is there, and the redactions, which may have taken back what was counted before.
func (s *survey) scan(ctx context.Context, counts *Counts, after, upto uint64, only map[string]bool) (last uint64, redactions []schema.Event, err error) {
	if after >= upto {
		return upto, nil, nil
	}
	last = after
	q := s.events()
	q.From = &schema.Event{Seq: after + 1}
	if upto < schema.OutlierBase {
		q.Before = &schema.Event{Seq: upto + 1}
	}
	for row, err := range schema.Events.Scan(ctx, s.c.store, q) {
		if err != nil {
			return last, nil, err
		}
		last = row.Seq
		if row.Status != schema.Accepted {
			continue
		}
		if row.Type == redaction {
			redactions = append(redactions, row)
		}
		if err := s.add(ctx, counts, &row, only); err != nil {
			return last, nil, err
		}
	}
	return last, redactions, nil
}

const redaction = "m.room.redaction"

// add counts one event. The user's own reads what came before it in its thread, except for those that are no sign of reading
// (memberships change with the profile) and those whose thread is not known (redactions, and what was redacted).
func (s *survey) add(ctx context.Context, counts *Counts, row *schema.Event, only map[string]bool) error {
	own := row.Sender == s.member.UserID
	if row.RedactedBy != "" || s.ignored[row.Sender] && !own || own && (row.Type == "m.room.member" || row.Type == redaction) {
		return nil
	}
	thread, err := s.c.thread(ctx, row)
	if err != nil || only != nil && !only[thread] {
		return err
	}
	if own {
		counts.set(thread, Count{})
		return nil
	}
	if row.Seq <= s.markers.of(thread) {
		return nil
	}
	result, err := s.judge(ctx, row)
	if err != nil || !result.Notify {
		return err
	}
	n := counts.of(thread)
	n.Notify++
	if result.Highlight {
		n.Highlight++
	}
	counts.set(thread, n)
	return nil
}

func (c *Counts) of(thread string) Count {
	if thread == Main {
		return c.Main
	}
	return c.Threads[thread]
}

func (c *Counts) set(thread string, n Count) {
	switch {
	case thread == Main:
		c.Main = n
	case n == Count{}:
		delete(c.Threads, thread)
	default:
		if c.Threads == nil {
			c.Threads = map[string]Count{}
		}
		c.Threads[thread] = n
	}
}
