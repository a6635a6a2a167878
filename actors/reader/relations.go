package reader

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The relation types that the server aggregates (client-server API, "Aggregations of child events").
const (
	relReplace   = "m.replace"
	relReference = "m.reference"
	relThread    = "m.thread"
)

// relationDepth is how many generations of relations ?recurse=true follows; the specification asks for at least three.
const relationDepth = 3

// relationScan bounds how many children one request or one aggregation looks at.
const relationScan = 5000

// Relations asks for the child events of an event.
type Relations struct {
	ParentID  string
	RelType   string // "" for any
	Type      string // "" for any
	From, To  uint64 // gaps; see Page
	Backwards bool
	Limit     int
	Recurse   bool
}

// Depth is how deep the answer looked, to be told when Recurse was asked for.
func (q *Relations) Depth() int {
	if q.Recurse {
		return relationDepth
	}
	return 1
}

// Relations reads the child events that the user may see, newest first when going back. The parent must be visible.
func (a *Access) Relations(ctx context.Context, q Relations) (Stretch, error) {
	if _, err := a.Event(ctx, q.ParentID); err != nil {
		return Stretch{}, err
	}
	children, err := a.children(ctx, q)
	if err != nil {
		return Stretch{}, err
	}
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return Stretch{}, err
	}
	s := Stretch{End: q.From}
	for _, c := range children {
		if len(s.Events) == q.Limit {
			s.More = true
			break
		}
		if s.End = c.Seq; q.Backwards {
			s.End = c.Seq - 1
		}
		if ignored[c.Sender] {
			continue
		}
		row, err := a.r.EventAt(ctx, a.RoomID, c.Seq)
		if err != nil {
			return s, err
		}
		sees, err := a.Sees(ctx, &row)
		if err != nil {
			return s, err
		}
		if sees && row.RedactedBy == "" {
			s.Events = append(s.Events, row)
		}
	}
	return s, nil
}

// children collects the relation rows in the order asked for, at most relationScan of them.
func (a *Access) children(ctx context.Context, q Relations) ([]schema.Relation, error) {
	low, high := q.From, q.To
	if q.Backwards {
		low, high = q.To, q.From
	}
	var found []schema.Relation
	generation := []string{q.ParentID}
	seen := map[string]bool{q.ParentID: true}
	for depth := 0; depth < q.Depth() && len(generation) > 0; depth++ {
		var next []string
		for _, parent := range generation {
			for c, err := range schema.Relations.Scan(ctx, a.r.store, persistence.Range[schema.Relation]{
				Prefix: schema.Relation{RoomID: a.RoomID, ParentID: parent}, Keys: 2, Reverse: true}) {
				if err != nil {
					return nil, err
				}
				if seen[c.EventID] {
					continue
				}
				seen[c.EventID] = true
				next = append(next, c.EventID)
				if c.Seq > low && c.Seq <= high && (q.RelType == "" || c.RelType == q.RelType) && (q.Type == "" || c.Type == q.Type) {
					found = append(found, c)
				}
				if len(seen) > relationScan {
					break
				}
			}
		}
		generation = next
	}
	sortRelations(found, q.Backwards)
	return found, nil
}

// sortRelations orders by arrival, newest first when descending.
func sortRelations(rows []schema.Relation, descending bool) {
	slices.SortFunc(rows, func(a, b schema.Relation) int {
		if descending {
			a, b = b, a
		}
		return cmp.Compare(a.Seq, b.Seq)
	})
}

// appendBundle writes the aggregations of the event's children as ,"m.relations":{…} if there are any.
func (a *Access) appendBundle(ctx context.Context, b []byte, v View, row *schema.Event) ([]byte, error) {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return nil, err
	}
	agg := aggregate{latestTS: math.MinInt64}
	n := 0
	rel := gjson.GetBytes(row.JSON, `content.m\.relates_to.rel_type`).Str
	for c, err := range schema.Relations.Scan(ctx, a.r.store, persistence.Range[schema.Relation]{
		Prefix: schema.Relation{RoomID: a.RoomID, ParentID: row.EventID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if n++; n > relationScan {
			break
		}
		if ignored[c.Sender] {
			continue
		}
		if err := a.aggregate(ctx, &agg, row, c, rel); err != nil {
			return nil, err
		}
	}
	return a.appendAggregate(ctx, b, v, &agg)
}

// aggregate is what the children of one event amount to.
type aggregate struct {
	edit         *schema.Event
	latestTS     int64
	references   []string
	thread       *schema.Event // the newest event in the thread
	threadCount  int
	participated bool
}

func (a *Access) aggregate(ctx context.Context, agg *aggregate, parent *schema.Event, c schema.Relation, parentRel string) error {
	switch c.RelType {
	case relReplace:
		// Valid replacements only: same sender, same type, no state, and not of an edit.
		if c.Sender != parent.Sender || c.Type != parent.Type || parentRel == relReplace {
			return nil
		}
	case relThread:
		// An event that relates to another is no thread root; this also bounds the nesting of aggregations.
		if parentRel != "" {
			return nil
		}
	case relReference:
	default:
		return nil
	}
	row, err := a.r.EventAt(ctx, a.RoomID, c.Seq)
	if err != nil || row.RedactedBy != "" || row.Status != schema.Accepted {
		return err
	}
	sees, err := a.Sees(ctx, &row)
	if err != nil || !sees {
		return err
	}
	switch c.RelType {
	case relReplace:
		if row.StateKey == nil && (row.OriginServerTS > agg.latestTS || row.OriginServerTS == agg.latestTS && row.EventID > agg.edit.EventID) {
			agg.edit, agg.latestTS = &row, row.OriginServerTS
		}
	case relReference:
		agg.references = append(agg.references, row.EventID)
	case relThread:
		agg.thread = &row
		agg.threadCount++
		agg.participated = agg.participated || row.Sender == a.UserID
	}
	if c.RelType == relThread && parent.Sender == a.UserID {
		agg.participated = true
	}
	return nil
}

func (a *Access) appendAggregate(ctx context.Context, b []byte, v View, agg *aggregate) ([]byte, error) {
	if agg.edit == nil && agg.thread == nil && len(agg.references) == 0 {
		return b, nil
	}
	b = append(b, `,"m.relations":{`...)
	first := len(b)
	separate := func() {
		if len(b) > first {
			b = append(b, ',')
		}
	}
	if len(agg.references) > 0 {
		b = append(b, `"m.reference":{"chunk":[`...)
		for i, id := range agg.references {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, `{"event_id":`, id), '}')
		}
		b = append(b, `]}`...)
	}
	if agg.edit != nil {
		separate()
		e, err := a.child(ctx, v, agg.edit, false)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `"m.replace":`...), e...)
	}
	if agg.thread != nil {
		separate()
		e, err := a.child(ctx, v, agg.thread, true)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `"m.thread":{"latest_event":`...), e...)
		b = append(b, `,"count":`...)
		b = strconv.AppendInt(b, int64(agg.threadCount), 10)
		b = append(b, `,"current_user_participated":`...)
		b = append(strconv.AppendBool(b, agg.participated), '}')
	}
	return append(b, '}'), nil
}

// child shows an event inside an aggregation. The newest event of a thread carries its own aggregations; an edit none.
func (a *Access) child(ctx context.Context, v View, row *schema.Event, bundle bool) (jsontext.Value, error) {
	v.RoomID, v.Federation, v.Bundle = true, false, bundle
	return a.client(ctx, v, row)
}
