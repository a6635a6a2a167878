package event

import (
	"maps"
	"slices"
)

// Ordered puts events after those of them that they cite, in an order that depends on the events alone. Events that cite each other in a
// ring, which no honest server can make, and those that follow them, are left out. The events are given by their ids, as far as cites needs them.
func Ordered[E any](events map[string]E, cites func(E) []string) []E {
	order := make([]E, 0, len(events))
	wants := make(map[string]int, len(events))
	follows := make(map[string][]string, len(events))
	var ready []string
	for _, id := range slices.Sorted(maps.Keys(events)) {
		for _, cited := range cites(events[id]) {
			if _, ok := events[cited]; ok {
				wants[id]++
				follows[cited] = append(follows[cited], id)
			}
		}
		if wants[id] == 0 {
			ready = append(ready, id)
		}
	}
	for len(ready) > 0 {
		id := ready[0]
		ready = ready[1:]
		order = append(order, events[id])
		for _, next := range follows[id] {
			if wants[next]--; wants[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
	return order
}

// Authorisers are the ids of the events that an event stands or falls with: its auth events, and the create event where the room's id names it.
func (e *Event) Authorisers() []string {
	if !e.version.RoomIDFromCreate || e.typ == "m.room.create" {
		return e.authEvents
	}
	return append(slices.Clone(e.authEvents), "$"+e.roomID[1:])
}
