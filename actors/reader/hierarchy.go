package reader

import (
	"cmp"
	"context"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of a walk through a space.
const (
	spaceRooms    = 5000 // looked at in one walk
	spaceChildren = 1000 // of one space
	childVia      = 10   // servers of one child
)

// Hierarchy asks for a part of a tree of spaces.
type Hierarchy struct {
	RoomID, UserID string
	Depth          int  // how many levels below the room
	SuggestedOnly  bool // only children that are suggested
	Skip, Limit    int  // rooms before the part, and in it
	// Elsewhere asks other servers about a room that this one does not know; nil: such rooms are left out.
	Elsewhere func(ctx context.Context, roomID string, via []string, suggestedOnly bool) (*ForeignSpace, bool)
	Via       []string // servers that may know of the room, should this one not
}

// SpaceRoom is one room of a tree of spaces.
type SpaceRoom struct {
	Discovered
	Children []schema.Event // the m.space.child events of a space, in the order in which the children are shown
	Foreign  *ForeignRoom   // nil, or what another server tells of it instead
}

// spaceNode is a room on the way.
type spaceNode struct {
	roomID string
	depth  int
	via    []string
	told   *ForeignRoom // nil, or what the server of its space has told of it
}

// Hierarchy walks the tree depth first, through rooms of which the user may know, each once, and gives a part of what it finds; more
// says that there are further rooms. Nothing is found below a room that the user may not know of. 403 M_FORBIDDEN when that is the first.
func (r *Reader) Hierarchy(ctx context.Context, q Hierarchy) (found []SpaceRoom, more bool, err error) {
	stack := []spaceNode{{roomID: q.RoomID, via: q.Via}}
	seen := map[string]bool{}
	known := 0
	for len(stack) > 0 && len(seen) < spaceRooms {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[next.roomID] {
			continue
		}
		seen[next.roomID] = true
		room, below, ok, err := r.visit(ctx, q, next)
		if err != nil {
			return nil, false, err
		}
		if !ok && len(seen) == 1 {
			return nil, false, mxerr.Forbidden("there is no room %s, or you may not know of it", q.RoomID)
		}
		if !ok {
			continue
		}
		if len(found) == q.Limit {
			return found, true, nil
		}
		if known++; known > q.Skip {
			found = append(found, room)
		}
		if next.depth < q.Depth {
			slices.Reverse(below)
			stack = append(stack, below...)
		}
	}
	return found, false, nil
}

// visit looks at a room, and what is below it; ok is false when the user may not know of it.
func (r *Reader) visit(ctx context.Context, q Hierarchy, n spaceNode) (room SpaceRoom, below []spaceNode, ok bool, err error) {
	a, err := r.Access(ctx, n.roomID, q.UserID)
	if err != nil {
		return room, nil, false, err
	}
	if room.Discovered, ok, err = a.Discover(ctx); err != nil {
		return room, nil, false, err
	}
	if !ok {
		return r.visitForeign(ctx, q, n, a)
	}
	if room.RoomType != "m.space" {
		return room, nil, true, nil
	}
	if room.Children, err = r.spaceChildren(ctx, room.RoomID, q.SuggestedOnly); err != nil {
		return room, nil, false, err
	}
	for _, child := range room.Children {
		below = append(below, spaceNode{roomID: *child.StateKey, depth: n.depth + 1, via: viaOf(gjson.GetBytes(child.JSON, "content"))})
	}
	return room, below, true, nil
}

// visitForeign has another server tell of a room.
func (r *Reader) visitForeign(ctx context.Context, q Hierarchy, n spaceNode, a *Access) (room SpaceRoom, below []spaceNode, ok bool, err error) {
	if _, here, err := schema.Rooms.Get(ctx, r.store, schema.Room{RoomID: n.roomID}); err != nil || here || q.Elsewhere == nil {
		return room, nil, false, err
	}
	space := &ForeignSpace{}
	if n.told == nil || n.told.RoomType == "m.space" {
		if asked, ok := q.Elsewhere(ctx, n.roomID, n.via, q.SuggestedOnly); ok {
			space, n.told = asked, &asked.Room
		}
	}
	if n.told == nil {
		return room, nil, false, nil
	}
	if ok, err = a.DiscoverForeign(ctx, n.told); err != nil || !ok {
		return room, nil, false, err
	}
	told := *n.told
	if q.SuggestedOnly {
		told.Children = slices.DeleteFunc(slices.Clone(told.Children), func(child jsontext.Value) bool {
			return gjson.GetBytes(child, "content.suggested").Type != gjson.True
		})
	}
	for _, child := range told.Children {
		e := gjson.ParseBytes(child)
		if roomID := e.Get("state_key").Str; !space.Inaccessible[roomID] {
			below = append(below, spaceNode{roomID: roomID, depth: n.depth + 1, via: viaOf(e.Get("content")), told: space.Children[roomID]})
		}
	}
	return SpaceRoom{Foreign: &told}, below, true, nil
}

// viaOf are the servers that the content of an m.space.child event names.
func viaOf(content gjson.Result) (via []string) {
	content.Get("via").ForEach(func(_, server gjson.Result) bool {
		if id.ValidServerName(server.Str) {
			via = append(via, server.Str)
		}
		return len(via) < childVia
	})
	return via
}

// place is where a child stands among the others (client-server API, "Ordering of children within a space").
type place struct {
	order  string
	ts     int64
	roomID string
}

func (p place) compare(q place) int {
	switch {
	case p.order == "" && q.order != "":
		return 1
	case p.order != "" && q.order == "":
		return -1
	}
	return cmp.Or(cmp.Compare(p.order, q.order), cmp.Compare(p.ts, q.ts), cmp.Compare(p.roomID, q.roomID))
}

// spaceChildren reads the children of a space, ordered as clients show them.
func (r *Reader) spaceChildren(ctx context.Context, roomID string, suggestedOnly bool) ([]schema.Event, error) {
	refs, err := r.CurrentOf(ctx, roomID, "m.space.child")
	if err != nil {
		return nil, err
	}
	type child struct {
		schema.Event
		place
	}
	var children []child
	for _, ref := range refs {
		if !id.ValidRoomID(ref.StateKey) {
			continue
		}
		row, err := r.EventAt(ctx, roomID, ref.Seq)
		if err != nil {
			return nil, err
		}
		content := gjson.GetBytes(row.JSON, "content")
		if isChild(content) && (!suggestedOnly || content.Get("suggested").Type == gjson.True) {
			children = append(children, child{row, place{childOrder(content), row.OriginServerTS, *row.StateKey}})
		}
	}
	slices.SortFunc(children, func(a, b child) int { return a.compare(b.place) })
	rows := make([]schema.Event, 0, len(children))
	for _, c := range children[:min(len(children), spaceChildren)] {
		rows = append(rows, c.Event)
	}
	return rows, nil
}

// isChild reports whether the content of an m.space.child event says where to join: one without has been removed.
func isChild(content gjson.Result) bool {
	via := content.Get("via")
	return via.IsArray() && via.Get("0").Type == gjson.String
}

// longestOrder is the length of an order of m.space.child.
const longestOrder = 50

// childOrder gives a valid order, else nothing.
func childOrder(content gjson.Result) string {
	order := content.Get("order")
	if order.Type != gjson.String || len(order.Str) > longestOrder {
		return ""
	}
	for _, c := range []byte(order.Str) {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return order.Str
}
