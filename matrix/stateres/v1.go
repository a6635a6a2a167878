package stateres

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // room version 1 orders events by it
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
)

// stages are the types that room version 1 resolves first, in this order.
var stages = []string{"m.room.power_levels", "m.room.join_rules", "m.room.member"}

// resolveV1 is the algorithm of room version 1 (rooms/v1, "State resolution"). A place that only some states have is no
// conflict. The conflicts of one stage are resolved each on its own, on what the stages before have given, so that their order does
// not matter.
func (r *resolver) resolveV1(conflicted []map[event.Tuple]string) error {
	conflicts, err := r.conflictsV1(conflicted)
	if err != nil {
		return err
	}
	for _, typ := range stages {
		settled := map[event.Tuple]*event.Event{}
		for t, candidates := range conflicts {
			if t.Type == typ {
				settled[t] = r.lastAllowed(t, candidates)
				delete(conflicts, t)
			}
		}
		for t, e := range settled {
			r.resolved[t] = e
		}
	}
	for t, candidates := range conflicts {
		for _, e := range slices.Backward(candidates) {
			if r.allowed(e, r.state) {
				r.resolved[t] = e
				break
			}
		}
	}
	return nil
}

// conflictsV1 gives the candidates for each conflicted place, in the order of room version 1, and resolves the others.
func (r *resolver) conflictsV1(conflicted []map[event.Tuple]string) (map[event.Tuple][]*event.Event, error) {
	conflicts := map[event.Tuple][]*event.Event{}
	for _, state := range conflicted {
		for t, id := range state {
			e, err := r.event(id)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(conflicts[t], func(c *event.Event) bool { return c.ID() == id }) {
				conflicts[t] = append(conflicts[t], e)
			}
		}
	}
	for t, candidates := range conflicts {
		if len(candidates) == 1 {
			r.resolved[t] = candidates[0]
			delete(conflicts, t)
			continue
		}
		slices.SortFunc(candidates, func(a, b *event.Event) int {
			hashA, hashB := sha1.Sum([]byte(a.ID())), sha1.Sum([]byte(b.ID())) //nolint:gosec // as above
			return cmp.Or(cmp.Compare(a.Depth(), b.Depth()), bytes.Compare(hashB[:], hashA[:]))
		})
	}
	return conflicts, nil
}

// lastAllowed goes through the candidates from the shallowest on, until one is not allowed after the one before.
func (r *resolver) lastAllowed(t event.Tuple, candidates []*event.Event) *event.Event {
	last := candidates[0]
	state := stateFunc(func(place event.Tuple) *event.Event {
		if place == t {
			return last
		}
		return r.state(place)
	})
	for _, e := range candidates[1:] {
		if !r.allowed(e, state) {
			break
		}
		last = e
	}
	return last
}
