package unread

import (
	"context"
	"maps"
	"math"

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
	redacted, err := s.scan(ctx, &t.counts, old.upto, upto, nil)
	if err != nil {
		return nil, err
	}
	if redacted && (t.counts.Main.Notify > 0 || len(t.counts.Threads) > 0) {
		return s.anew(ctx, upto)
	}
	return t, nil
}

// anew counts from the last event that is read in every thread.
func (s *survey) anew(ctx context.Context, upto uint64) (*tally, error) {
	t := &tally{basis: s.basis, markers: s.markers, upto: upto}
	after := max(s.member.JoinedSeq, s.markers.room)
	if upto > maxScan {
		after = max(after, upto-maxScan)
	}
	_, err := s.scan(ctx, &t.counts, after, upto, nil)
	return t, err
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
	_, err := s.scan(ctx, counts, after, old.upto, moved)
	return err
}

// scan adds the events after the one number up to the other to the counts, of all threads or of some. It reports whether there was a
// redaction among them, which may have taken back what was counted before.
func (s *survey) scan(ctx context.Context, counts *Counts, after, upto uint64, only map[string]bool) (redacted bool, err error) {
	if after >= upto {
		return false, nil
	}
	q := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: s.member.RoomID}, Keys: 1, From: &schema.Event{Seq: after + 1}}
	if upto < math.MaxUint64 {
		q.Before = &schema.Event{Seq: upto + 1}
	}
	for row, err := range schema.Events.Scan(ctx, s.c.store, q) {
		if err != nil {
			return false, err
		}
		if row.Status != schema.Accepted {
			continue
		}
		redacted = redacted || row.Type == "m.room.redaction"
		if err := s.add(ctx, counts, &row, only); err != nil {
			return false, err
		}
	}
	return redacted, nil
}

// add counts one event. The user's own reads what came before it in its thread.
func (s *survey) add(ctx context.Context, counts *Counts, row *schema.Event, only map[string]bool) error {
	own := row.Sender == s.member.UserID
	if own && row.Type == "m.room.member" || !own && (row.RedactedBy != "" || s.ignored[row.Sender]) {
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
