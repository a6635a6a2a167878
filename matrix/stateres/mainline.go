package stateres

import (
	"cmp"
	"math"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
)

// farthest is the position of events whose auth events lead nowhere into the mainline.
const farthest = math.MaxInt

// sortByMainline puts the events in the mainline ordering based on the power levels event, which may be nil (rooms/v2).
func (r *resolver) sortByMainline(events []*event.Event, powerLevels *event.Event) error {
	positions, err := r.mainline(powerLevels)
	if err != nil {
		return err
	}
	type placed struct {
		event    *event.Event
		position int
	}
	all := make([]placed, len(events))
	for i, e := range events {
		position, err := r.mainlinePosition(e, positions)
		if err != nil {
			return err
		}
		all[i] = placed{e, position}
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(
			cmp.Compare(b.position, a.position),
			cmp.Compare(a.event.OriginServerTS(), b.event.OriginServerTS()),
			cmp.Compare(a.event.ID(), b.event.ID()),
		)
	})
	for i, p := range all {
		events[i] = p.event
	}
	return nil
}

// mainline gives the positions in the mainline of the power levels event.
func (r *resolver) mainline(powerLevels *event.Event) (map[string]int, error) {
	positions := map[string]int{}
	for p := powerLevels; p != nil; {
		if _, again := positions[p.ID()]; again {
			break // ids of room versions 1 and 2 are chosen, so hostile ones may cite in circles
		}
		positions[p.ID()] = len(positions)
		var err error
		if p, err = r.powerLevelsOf(p); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// mainlinePosition is the position that an event takes from the power levels events above it. What it learns on the way
// it adds to positions, so that no power levels event is passed twice.
func (r *resolver) mainlinePosition(e *event.Event, positions map[string]int) (int, error) {
	position := farthest
	var passed []string
	for {
		p, err := r.powerLevelsOf(e)
		if err != nil {
			return 0, err
		}
		if p == nil {
			break
		}
		if known, ok := positions[p.ID()]; ok {
			position = known
			break
		}
		positions[p.ID()] = farthest
		passed = append(passed, p.ID())
		e = p
	}
	for _, id := range passed {
		positions[id] = position
	}
	return position, nil
}

// powerLevelsOf is the power levels event among the event's auth events, nil when there is none.
func (r *resolver) powerLevelsOf(e *event.Event) (*event.Event, error) {
	for _, id := range e.AuthEvents() {
		a, err := r.event(id)
		if err != nil {
			return nil, err
		}
		if a.IsState() && a.Tuple() == powerLevelsTuple {
			return a, nil
		}
	}
	return nil, nil
}
