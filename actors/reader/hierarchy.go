package reader

import (
	"cmp"
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of a walk through a space.
const (
	spaceRooms    = 5000 // looked at in one walk
	spaceChildren = 1000 // of one space
)

// Hierarchy asks for a part of a tree of spaces.
type Hierarchy struct {
	RoomID, UserID string
	Depth          int  // how many levels below the room
	SuggestedOnly  bool // only children that are suggested
	Skip, Limit    int  // rooms before the part, and in it
}

// SpaceRoom is one room of a tree of spaces.
type SpaceRoom struct {
	Discovered
	Children []schema.Event // the m.space.child events of a space, in the order in which the children are shown
}

// Hierarchy walks the tree depth first, through rooms of which the user may know, each once, and gives a part of what it finds; more
// says that there are further rooms. Nothing is found below a room that the user may not know of.
func (r *Reader) Hierarchy(ctx context.Context, q Hierarchy) (found []SpaceRoom, more bool, err error) {
	type node struct {
		roomID string
		depth  int
	}
	stack := []node{{q.RoomID, 0}}
	seen := map[string]bool{}
	known := 0
	for len(stack) > 0 && len(seen) < spaceRooms {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[next.roomID] {
			continue
		}
		seen[next.roomID] = true
		a, err := r.Access(ctx, next.roomID, q.UserID)
		if err != nil {
			return nil, false, err
		}
		d, ok, err := a.Discover(ctx)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			continue
		}
		if len(found) == q.Limit {
			return found, true, nil
		}
		room := SpaceRoom{Discovered: d}
		if d.RoomType == "m.space" {
			if room.Children, err = r.spaceChildren(ctx, d.RoomID, q.SuggestedOnly); err != nil {
				return nil, false, err
			}
		}
		if known++; known > q.Skip {
			found = append(found, room)
		}
		if next.depth < q.Depth {
			for _, child := range slices.Backward(room.Children) {
				stack = append(stack, node{*child.StateKey, next.depth + 1})
			}
		}
	}
	return found, false, nil
}

// spaceChildren reads the children of a space, ordered as clients show them (client-server API, "Ordering of children within a space").
func (r *Reader) spaceChildren(ctx context.Context, roomID string, suggestedOnly bool) ([]schema.Event, error) {
	refs, err := r.CurrentOf(ctx, roomID, "m.space.child")
	if err != nil {
		return nil, err
	}
	type child struct {
		schema.Event
		order string
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
			children = append(children, child{row, childOrder(content)})
		}
	}
	slices.SortFunc(children, func(a, b child) int {
		switch {
		case a.order == "" && b.order != "":
			return 1
		case a.order != "" && b.order == "":
			return -1
		}
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(*a.StateKey, *b.StateKey))
	})
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
