package room

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrixon/matrixon/messages"
)

func TestTypingIsToldAtOnceAndExpires(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	s := newServer(t, newMemory(t), func(d *Deps) { d.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	s.must(roomID, &messages.SetTyping{By: by(alice), Typing: true, TimeoutMs: 1000})
	s.notices.await(t, func(n *messages.RoomNotice) bool { return n.TypingChanged && slices.Equal(n.Typing, []string{alice}) })
	// The timer goes off after a second of real time; by then the room's clock has passed it as well.
	now.Add(2000)
	told := s.notices.await(t, func(n *messages.RoomNotice) bool { return n.TypingChanged && len(n.Typing) == 0 })
	if told.Pos != 0 {
		t.Errorf("typing has the position %d", told.Pos)
	}
	s.refused(roomID, &messages.SetTyping{By: by(bob), Typing: true}, 403, "M_FORBIDDEN")
}

func TestNoticesComeInTheOrderOfPositions(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	s.must(roomID, change(bob, messages.ChangeMembership_JOIN, bob))
	sent := s.must(roomID, text(alice, "hello", "t"))
	s.must(roomID, &messages.SendReceipt{By: by(bob), ReceiptType: "m.read", EventId: sent.EventId})
	s.must(roomID, change(bob, messages.ChangeMembership_LEAVE, bob))
	s.must(roomID, &messages.Forget{By: by(bob)})
	var pos, seq uint64
	receipts := 0
	for _, n := range s.notices.all() {
		if n.Pos <= pos {
			t.Errorf("a notice at %d comes after %d", n.Pos, pos)
		}
		pos = n.Pos
		for _, e := range n.Events {
			if e.Seq != seq+1 {
				t.Errorf("event %d comes after %d", e.Seq, seq)
			}
			seq = e.Seq
			if e.Type == "m.room.member" && e.GetStateKey() == bob && (e.PrevMembership == "") != (e.Membership == "join") {
				t.Errorf("bob goes from %q to %q", e.PrevMembership, e.Membership)
			}
		}
		receipts += len(n.Receipts)
	}
	if uint64(len(s.journal(roomID))) != seq || receipts != 1 {
		t.Errorf("told of %d events and %d receipts", seq, receipts)
	}
	if len(s.notices.users) != 1 || s.notices.users[0].UserId != bob || !slices.Equal(s.notices.users[0].ForgottenRooms, []string{roomID}) {
		t.Errorf("told users %v", s.notices.users)
	}
}

func TestRestrictedJoinLooksIntoOtherRooms(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	space := s.create(alice, `{"preset":"public_chat"}`)
	inner := s.create(alice, `{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"`+space+`"}]}}]}`)
	s.refused(inner, change(bob, messages.ChangeMembership_JOIN, bob), 403, "M_FORBIDDEN")
	s.must(space, change(bob, messages.ChangeMembership_JOIN, bob))
	s.must(inner, change(bob, messages.ChangeMembership_JOIN, bob))
	s.refused("!nothing", change(bob, messages.ChangeMembership_JOIN, bob), 404, "M_NOT_FOUND")
}
