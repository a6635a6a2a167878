package bleve

import (
	"context"
	"fmt"
	"math"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/matrixon/matrixon/persistence"
)

// A word that is in very many texts cannot be looked up in all of them for each search. So each text is also found by when it is of: by
// spans of time, which are cut into 64 shorter ones each. How many texts are of a span is read at once, so that the newest texts are
// found in portions of about one size, however unevenly they came. Times before 1970 and after 2248 count as these.

const (
	cut      = 6 // bits of a time by which a span is shorter than the next longer one
	shortest = 13
	longest  = shortest + 4*cut // bits of a time in ms, so that 64 cover all
	latest   = 1<<(longest+cut) - 1
)

// span is a part of time.
type span struct {
	bits  int // 1 << bits ms
	which int64
}

func (s span) begin() int64 { return s.which << s.bits }
func (s span) end() int64   { return (s.which + 1) << s.bits } // the first moment after it

// term is how it stands in the index.
func (s span) term() string { return fmt.Sprintf("%c%x", 'a'+(s.bits-shortest)/cut, s.which) }

// spans are those of a moment.
func spans(ts int64) (all []string) {
	ts = clamped(ts)
	for bits := shortest; bits <= longest; bits += cut {
		all = append(all, span{bits, ts >> bits}.term())
	}
	return all
}

func clamped(ts int64) int64 { return min(max(ts, 0), latest) }

// newest walks from the newest texts to the oldest.
type newest struct {
	reader      index.IndexReader
	since, from int64  // the moments between which texts are wanted, both included
	left        []span // the newest last
}

func newNewest(reader index.IndexReader, since, from int64) *newest {
	n := &newest{reader: reader, since: clamped(since), from: clamped(from)}
	n.push(span{longest + cut, 0})
	return n
}

// push has the parts of a span visited next.
func (n *newest) push(s span) {
	for i := range int64(1 << cut) {
		n.left = append(n.left, span{s.bits - cut, s.which<<cut + i})
	}
}

// next gives the spans of about the next so many texts, nil when nothing is left.
func (n *newest) next(ctx context.Context, texts uint64) (all []span, err error) {
	const most = 256 // spans
	for sum := uint64(0); sum < texts && len(all) < most && len(n.left) > 0; {
		s := n.left[len(n.left)-1]
		n.left = n.left[:len(n.left)-1]
		if s.begin() > n.from || s.end() <= n.since {
			continue
		}
		count, err := having(ctx, n.reader, fieldWhen, s.term())
		switch {
		case err != nil:
			return nil, err
		case count == 0:
		case s.bits > shortest && (count > texts || s.begin() < n.since):
			n.push(s)
		default:
			all, sum = append(all, s), sum+count
		}
	}
	return all, nil
}

// having is how many texts have a term.
func having(ctx context.Context, r index.IndexReader, field, term string) (n uint64, err error) {
	found, err := r.TermFieldReader(ctx, []byte(term), field, false, false, false)
	if err != nil {
		return 0, err
	}
	return found.Count(), found.Close()
}

// question is a query of which is known what its beginnings of words stand for.
type question struct {
	persistence.TextQuery
	words map[string][]string
	texts uint64 // among how many it is asked, about
}

// understand reads what a query is about. It is rare when so few texts have one of its tokens, or are in its rooms, that all can be looked at.
func (x *Index) understand(ctx context.Context, r index.IndexReader, q persistence.TextQuery) (asked question, rare bool, err error) {
	asked = question{q, map[string][]string{}, x.portion}
	for _, token := range q.Tokens {
		var n uint64
		if token.Prefix {
			asked.words[token.Text], n, err = beginning(r, token.Text)
		} else {
			n, err = having(ctx, r, fieldText, token.Text)
		}
		if err != nil {
			return asked, false, err
		}
		rare = rare || n <= x.portion
	}
	if rare || len(q.Rooms) > fewRooms {
		return asked, rare, nil
	}
	sum := uint64(0)
	for _, roomID := range q.Rooms {
		n, err := having(ctx, r, fieldRoom, roomID)
		if err != nil {
			return asked, false, err
		}
		sum += n
	}
	return asked, sum <= x.portion, nil
}

// Search implements persistence.Searcher.
func (x *Index) Search(ctx context.Context, q persistence.TextQuery) (hits []persistence.TextHit, err error) {
	if len(q.Tokens) == 0 || len(q.Rooms) == 0 || q.Limit <= 0 {
		return nil, nil
	}
	advanced, err := x.index.Advanced()
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	reader, err := advanced.Reader()
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	defer reader.Close() //nolint:errcheck // it was only read
	asked, rare, err := x.understand(ctx, reader, q)
	switch {
	case err != nil:
		return nil, fmt.Errorf("search index: %w", err)
	case rare:
		hits, _, err = x.find(ctx, asked, nil)
		return hits, err
	case q.Recent:
		return x.recent(ctx, reader, asked)
	}
	return x.best(ctx, reader, asked)
}

// recent finds the newest, in portions that become larger when little is found in them.
func (x *Index) recent(ctx context.Context, reader index.IndexReader, q question) (hits []persistence.TextHit, err error) {
	from := int64(latest)
	if q.After != nil {
		from = q.After.TS
	}
	walk := newNewest(reader, 0, from)
	for portion := x.portion; len(hits) < q.Limit; portion *= 4 {
		when, err := walk.next(ctx, portion)
		if err != nil {
			return nil, fmt.Errorf("search index: %w", err)
		}
		if len(when) == 0 {
			break
		}
		rest := q
		rest.Limit -= len(hits)
		rest.texts = portion
		found, _, err := x.find(ctx, rest, when)
		if err != nil {
			return nil, err
		}
		hits = append(hits, found...)
	}
	return hits, nil
}

// best finds the best of those that are new, which are so many that nobody reads all. What comes after a hit is of the same.
func (x *Index) best(ctx context.Context, reader index.IndexReader, q question) (hits []persistence.TextHit, err error) {
	const (
		ranked = 4 // times as many as are looked at for what is recent
		enough = 5 // a part of what is looked at for what is recent: of a thousand texts the best two hundred are good ones
	)
	since := int64(0)
	if q.After != nil {
		since = q.After.Since
	}
	walk := newNewest(reader, since, latest)
	var when []span
	for portion := ranked * x.portion; ; portion *= 4 {
		if q.After != nil {
			portion = math.MaxUint64
		}
		next, err := walk.next(ctx, portion)
		if err != nil {
			return nil, fmt.Errorf("search index: %w", err)
		}
		if when = append(when, next...); q.After != nil && len(next) > 0 {
			continue // all that there are
		}
		q.texts = portion
		var total uint64
		if hits, total, err = x.find(ctx, q, when); err != nil {
			return nil, err
		}
		if len(next) == 0 || total >= x.portion/enough {
			break
		}
	}
	if len(when) > 0 {
		since = when[len(when)-1].begin()
	}
	for i := range hits {
		hits[i].Since = since
	}
	return hits, nil
}
