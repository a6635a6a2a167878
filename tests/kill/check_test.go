package kill

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// check holds the ledger, and what every reader saw, against what the server has in the end.
func (w *world) check(ctx context.Context, t *testing.T) {
	if err := w.auditor.audit(ctx); err != nil {
		t.Error(err)
	}
	fresh, err := w.sleeper.Sync(ctx, "", `{"room":{"timeline":{"limit":50}}}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, room := range w.rooms {
		history, joined, err := w.sleeper.Back(ctx, room, "", 100, func(string) bool { return false })
		if err != nil || joined {
			t.Fatal(err)
		}
		where := fmt.Sprintf("room %d", i)
		w.checkHistory(t, where, room, history)
		order := ids(history)
		w.checkForward(ctx, t, where, room, order)
		w.checkReaders(t, where, room, order, fresh.Get("rooms.join").Get(gjson.Escape(room)))
		w.checkMembers(ctx, t, where, room)
	}
	w.checkToDevice(ctx, t, fresh)
	w.checkReceipts(t, fresh)
	w.checkData(ctx, t)
	w.checkAccounts(ctx, t)
}

// checkHistory wants every acknowledged event exactly once, nothing that was not, and a sender's in the order sent.
func (w *world) checkHistory(t *testing.T, where, room string, history []gjson.Result) {
	t.Helper()
	at := map[string]int{}
	for i, e := range history {
		if _, twice := at[e.Get("event_id").Str]; twice {
			t.Errorf("%s has %s twice", where, e)
		}
		at[e.Get("event_id").Str] = i
	}
	last := map[string]int{}
	acknowledged := map[string]bool{}
	for _, e := range w.ledger.sentTo(room) {
		acknowledged[e.eventID] = true
		i, there := at[e.eventID]
		if !there {
			t.Errorf("%s has lost %s of %s", where, e.eventID, e.sender)
			continue
		}
		if before, ok := last[e.sender]; ok && i <= before {
			t.Errorf("%s has %s of %s at %d, although the one before it is at %d", where, e.eventID, e.sender, i, before)
		}
		last[e.sender] = i
	}
	for _, e := range history {
		mine := e.Get("type").Str == message || e.Get("type").Str == stateType || e.Get("type").Str == redaction
		if mine && !acknowledged[e.Get("event_id").Str] {
			t.Errorf("%s has an event that nobody was told of: %s", where, e)
		}
		redacted := !e.Get("content.body").Exists()
		if e.Get("type").Str == message && redacted != w.ledger.redacted[e.Get("event_id").Str] {
			t.Errorf("%s has an event as if redacted: %v, which it is not: %s", where, redacted, e)
		}
	}
}

// checkForward reads the room from its beginning.
func (w *world) checkForward(ctx context.Context, t *testing.T, where, room string, order []string) {
	t.Helper()
	var found []string
	for from, more := "", true; more; more = from != "" {
		page, err := w.sleeper.Messages(ctx, room, from, "f", 100)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, ids(page.Get("chunk").Array())...)
		from = page.Get("end").Str
	}
	same(t, where+" forward", found, order)
}

// checkReaders wants that all who read saw the same, each from where it began.
func (w *world) checkReaders(t *testing.T, where, room string, order []string, fresh gjson.Result) {
	t.Helper()
	state := map[[2]string]int64{}
	for key, n := range w.ledger.state {
		if key[0] == room {
			state[key] = n
		}
	}
	for _, reader := range w.watchers {
		seen := reader.timelines[room].ids
		same(t, where+" of "+reader.UserID, seen, order[max(0, len(order)-len(seen)):])
		for key, n := range state {
			if got := reader.state[key]; got != n {
				t.Errorf("%s: %s knows the state %v as %d, but it is %d", where, reader.UserID, key, got, n)
			}
		}
	}
	same(t, where+" audited", w.auditor.timelines[room].ids, order)
	events := fresh.Get("timeline.events").Array()
	if len(events) != min(50, len(order)) {
		t.Errorf("%s: a first sync shows %d events", where, len(events))
	}
	same(t, where+" at the first sync", ids(events), order[max(0, len(order)-len(events)):])
	for _, e := range slices.Concat(fresh.Get("state.events").Array(), events) {
		if e.Get("type").Str == stateType {
			key := [2]string{room, e.Get("state_key").Str}
			if n, last := state[key], e.Get("content.n").Int(); last == n {
				delete(state, key)
			}
		}
	}
	if len(state) > 0 {
		t.Errorf("%s: a first sync lacks the state %v", where, state)
	}
}

func same(t *testing.T, where string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s: %d events instead of %d, which differ from the %dth on: %v instead of %v",
				where, len(got), len(want), i, some(got, i), some(want, i))
			return
		}
	}
}

func some(all []string, from int) []string { return all[min(from, len(all)):min(from+3, len(all))] }

func (w *world) checkMembers(ctx context.Context, t *testing.T, where, room string) {
	t.Helper()
	members, err := w.sleeper.Do(ctx, http.MethodGet, matrixclient.Path("rooms", room, "joined_members"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, userID := range w.ledger.joined[room] {
		if !members.Get("joined").Get(gjson.Escape(userID)).Exists() {
			t.Errorf("%s: %s has joined and is no member", where, userID)
		}
	}
	for userID, name := range w.ledger.names {
		if got := members.Get("joined").Get(gjson.Escape(userID)).Get("display_name").Str; got != name {
			t.Errorf("%s: %s is called %q there, and is %q", where, userID, got, name)
		}
	}
}

// checkToDevice wants every message exactly once in every inbox, in the order sent, and that it is gone with the next
// token.
func (w *world) checkToDevice(ctx context.Context, t *testing.T, fresh gjson.Result) {
	t.Helper()
	sleeper := map[string][]int64{}
	for answer := fresh; ; {
		batch := answer.Get("to_device.events").Array()
		if len(batch) == 0 {
			break
		}
		for _, m := range batch {
			if n := m.Get("content.n").Int(); n != markNumber {
				sleeper[m.Get("sender").Str] = append(sleeper[m.Get("sender").Str], n)
			}
		}
		var err error
		if answer, err = w.sleeper.Sync(ctx, answer.Get("next_batch").Str, "", 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range w.senders {
		want := slices.DeleteFunc(slices.Clone(w.ledger.toDevice[s.UserID]), func(n int64) bool { return n == markNumber })
		if got := sleeper[s.UserID]; !slices.Equal(got, want) {
			t.Errorf("the sleeper's device got %v from %s, instead of %v", got, s.UserID, want)
		}
		for _, reader := range w.watchers {
			if got := reader.inbox[s.UserID]; !slices.Equal(got, want) {
				t.Errorf("the device of %s got %v from %s, instead of %v", reader.UserID, got, s.UserID, want)
			}
		}
	}
}

func (w *world) checkReceipts(t *testing.T, fresh gjson.Result) {
	t.Helper()
	for key, eventID := range w.ledger.receipts {
		userID, room := key[0], key[1]
		read := fresh.Get("rooms.join").Get(gjson.Escape(room)).Get("ephemeral.events.#(type==m.receipt).content")
		if !read.Get(gjson.Escape(eventID)).Get(`m\.read`).Get(gjson.Escape(userID)).Exists() {
			t.Errorf("the receipt of %s in %s for %s is lost: %s", userID, room, eventID, read)
		}
	}
}

func (w *world) checkData(ctx context.Context, t *testing.T) {
	t.Helper()
	sessions := map[string]*matrixclient.Client{}
	for _, s := range w.senders {
		sessions[s.UserID] = s.Client
	}
	for key, n := range w.ledger.data {
		path := matrixclient.Path("user", key[0], "account_data", dataType)
		if key[1] != "" {
			path = matrixclient.Path("user", key[0], "rooms", key[1], "account_data", dataType)
		}
		data, err := sessions[key[0]].Do(ctx, http.MethodGet, path, nil)
		if err != nil || data.Get("n").Int() != n {
			t.Errorf("the account data of %v is %s (%v), instead of %d", key, data, err, n)
		}
	}
	for userID, name := range w.ledger.names {
		profile, err := w.sleeper.Do(ctx, http.MethodGet, matrixclient.Path("profile", userID), nil)
		if err != nil || profile.Get("displayname").Str != name {
			t.Errorf("the profile of %s is %s (%v), instead of %q", userID, profile, err, name)
		}
	}
}

// checkAccounts wants that accounts, passwords and sessions have stayed, and that ended sessions have ended.
func (w *world) checkAccounts(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range w.ledger.sessions {
		me, err := s.Do(ctx, http.MethodGet, "/account/whoami", nil)
		if err != nil || me.Get("user_id").Str != s.UserID || me.Get("device_id").Str != s.DeviceID {
			t.Errorf("a session of %s on %s is now %s (%v)", s.UserID, s.DeviceID, me, err)
		}
	}
	for _, s := range w.ledger.ended {
		if _, err := s.Do(ctx, http.MethodGet, "/account/whoami", nil); !refused(err, "M_UNKNOWN_TOKEN") {
			t.Errorf("a session of %s on %s was ended, and now: %v", s.UserID, s.DeviceID, err)
		}
	}
	for name, account := range w.ledger.passwords {
		again, err := w.client.Login(ctx, name, password, "")
		if err != nil || again.UserID != account.UserID || !strings.HasPrefix(again.UserID, "@"+name+":") {
			t.Errorf("%s cannot log in any more: %v", name, err)
		}
	}
}
