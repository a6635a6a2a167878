package hub

import (
	"slices"
	"strings"
	"sync"
)

// partition is the index of some of the users. Users and rooms are small numbers in it, reused when they are free, so
// that a membership costs eight bytes and no pointer.
type partition struct {
	mu        sync.Mutex
	userByID  map[string]uint32
	roomByID  map[string]uint32
	users     []userEntry
	rooms     []roomEntry
	freeUsers []uint32
	freeRooms []uint32
	round     uint32 // of choosing, so that nobody is chosen twice
}

type userEntry struct {
	id     string
	rooms  []uint32 // sorted
	chosen uint32   // the last round that chose the user

	// While the user enters, the rooms that it left are remembered: the list that is still to come may be older.
	entering bool
	left     []string
}

type roomEntry struct {
	id    string
	users []uint32 // in no order
}

func (p *partition) init() {
	p.userByID, p.roomByID = map[string]uint32{}, map[string]uint32{}
}

func (p *partition) enter(userID string, rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, known := p.userByID[userID]
	if !known {
		u = p.newUser(userID)
	}
	e := &p.users[u]
	e.entering = !known && len(rooms) == 0
	e.rooms = slices.Grow(e.rooms, len(rooms))
	for _, id := range rooms {
		if !slices.Contains(e.left, id) {
			p.join(u, id)
		}
	}
	if !e.entering {
		e.left = nil
	}
}

func (p *partition) leave(userID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, known := p.userByID[userID]
	if !known {
		return
	}
	for _, r := range p.users[u].rooms {
		p.removeMember(r, u)
	}
	delete(p.userByID, userID)
	p.users[u] = userEntry{}
	p.freeUsers = append(p.freeUsers, u)
}

// room appends whom a notice of the room concerns, and takes in the changes.
func (p *partition) room(to []string, roomID string, changes []change) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextRound()
	to = p.chooseMembers(to, roomID)
	for _, c := range changes {
		u, active := p.userByID[c.userID]
		if !active {
			continue
		}
		to = p.choose(to, u)
		if c.joined {
			p.join(u, roomID)
		} else {
			p.part(u, roomID)
		}
	}
	return to
}

// sharers appends who is in one of the rooms, and the user.
func (p *partition) sharers(to []string, userID string, rooms []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextRound()
	if u, active := p.userByID[userID]; active {
		to = p.choose(to, u)
	}
	for _, id := range rooms {
		to = p.chooseMembers(to, id)
	}
	return to
}

func (p *partition) nextRound() {
	p.round++
	if p.round == 0 { // wrapped around
		for i := range p.users {
			p.users[i].chosen = 0
		}
		p.round = 1
	}
}

func (p *partition) chooseMembers(to []string, roomID string) []string {
	r, known := p.roomByID[roomID]
	if !known {
		return to
	}
	for _, u := range p.rooms[r].users {
		to = p.choose(to, u)
	}
	return to
}

func (p *partition) choose(to []string, u uint32) []string {
	if e := &p.users[u]; e.chosen != p.round {
		e.chosen = p.round
		to = append(to, e.id)
	}
	return to
}

// join makes the user a member; it may be one already.
func (p *partition) join(u uint32, roomID string) {
	e := &p.users[u]
	e.left = slices.DeleteFunc(e.left, func(id string) bool { return id == roomID })
	r, known := p.roomByID[roomID]
	if !known {
		r = p.newRoom(roomID)
	}
	i, member := slices.BinarySearch(e.rooms, r)
	if member {
		return
	}
	e.rooms = slices.Insert(e.rooms, i, r)
	p.rooms[r].users = append(p.rooms[r].users, u)
}

// part makes the user no member; it may be none already.
func (p *partition) part(u uint32, roomID string) {
	e := &p.users[u]
	if e.entering && !slices.Contains(e.left, roomID) {
		e.left = append(e.left, strings.Clone(roomID))
	}
	r, known := p.roomByID[roomID]
	if !known {
		return
	}
	i, member := slices.BinarySearch(e.rooms, r)
	if !member {
		return
	}
	e.rooms = slices.Delete(e.rooms, i, i+1)
	p.removeMember(r, u)
}

// removeMember takes the user out of the room's list, and the room out of the index with its last user.
func (p *partition) removeMember(r, u uint32) {
	e := &p.rooms[r]
	i := slices.Index(e.users, u)
	last := len(e.users) - 1
	e.users[i] = e.users[last]
	e.users = e.users[:last]
	switch {
	case last == 0:
		delete(p.roomByID, e.id)
		*e = roomEntry{}
		p.freeRooms = append(p.freeRooms, r)
	case cap(e.users) > 64 && cap(e.users) > 4*last:
		e.users = slices.Clone(e.users)
	}
}

func (p *partition) newUser(id string) uint32 {
	id = strings.Clone(id) // it may be part of something large
	u, ok := take(&p.freeUsers)
	if !ok {
		u = uint32(len(p.users))
		p.users = append(p.users, userEntry{})
	}
	p.users[u] = userEntry{id: id}
	p.userByID[id] = u
	return u
}

func (p *partition) newRoom(id string) uint32 {
	id = strings.Clone(id)
	r, ok := take(&p.freeRooms)
	if !ok {
		r = uint32(len(p.rooms))
		p.rooms = append(p.rooms, roomEntry{})
	}
	p.rooms[r] = roomEntry{id: id}
	p.roomByID[id] = r
	return r
}

func take(free *[]uint32) (uint32, bool) {
	last := len(*free) - 1
	if last < 0 {
		return 0, false
	}
	n := (*free)[last]
	*free = (*free)[:last]
	return n, true
}
