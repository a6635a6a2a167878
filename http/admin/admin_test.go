package admin_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestOnlyAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	for _, e := range admin.Endpoints(w.deps) {
		path := strings.NewReplacer("{user}", "alice", "{room}", "!r", "{kind}", "room", "{id}", "!r", "{node}", "a", "{report}", "1", "{appservice}", "irc", "{destination}", "b.example", "{token}", "t").Replace(strings.TrimPrefix(e.Path, admin.Base))
		if path == "/openapi.yaml" {
			continue
		}
		for token, want := range map[string]struct {
			status int
			code   string
		}{"": {401, "M_MISSING_TOKEN"}, "mxat_wrong": {401, "M_UNKNOWN_TOKEN"}, alice.Token: {403, "M_FORBIDDEN"}} {
			if status, raw := w.request(token, e.Methods[0], path, clienttest.J{}); status != want.status || gjson.GetBytes(raw, "errcode").Str != want.code {
				t.Errorf("%s %s: %d %s", e.Methods[0], path, status, raw)
			}
		}
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 25 {
		w.Register(fmt.Sprintf("user%02d", i))
	}
	var all []string
	from := ""
	for {
		page := w.get("/users?limit=10&match=USER&from=" + url.QueryEscape(from))
		for _, id := range page.Get("users.#.user_id").Array() {
			all = append(all, id.Str)
		}
		if from = page.Get("next").Str; from == "" {
			break
		}
	}
	if len(all) != 25 || !slices.IsSorted(all) || len(slices.Compact(all)) != 25 {
		t.Errorf("%v", all)
	}
	if got := w.get("/users/root"); !got.Get("admin").Bool() || got.Get("user_id").Str != w.root.ID {
		t.Errorf("%s", got)
	}
	for path, status := range map[string]int{"/users/none": 404, "/users/A%20b": 400, "/users/@x:elsewhere.org": 400, "/users?limit=0": 400, "/users?limit=x": 400} {
		w.ask(w.root, "GET", path, nil, status)
	}
}

func TestAnAccountIsMadeAndChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const secret = "the password of dave"
	made := w.ask(w.root, "POST", "/users/dave", clienttest.J{"create": true, "password": secret}, 200)
	dave := made.Get("user_id").Str
	if dave != "@dave:"+clienttest.ServerName || made.Get("admin").Bool() {
		t.Fatalf("%s", made)
	}
	w.ask(w.root, "POST", "/users/dave", clienttest.J{"create": true, "password": secret}, 400)
	if ok, err := w.deps.Passwords.Matches(t.Context(), w.account(dave).PasswordHash, secret); err != nil || !ok {
		t.Errorf("%v %v", ok, err)
	}
	for _, change := range []struct {
		body clienttest.J
		is   func(schema.Account) bool
	}{
		{clienttest.J{"admin": true}, func(a schema.Account) bool { return a.Admin }},
		{clienttest.J{"admin": false, "locked": true}, func(a schema.Account) bool { return !a.Admin && a.Locked }},
		{clienttest.J{"locked": false, "suspended": true}, func(a schema.Account) bool { return !a.Locked && a.Suspended }},
		{clienttest.J{}, func(a schema.Account) bool { return !a.Locked && a.Suspended }},
		{clienttest.J{"deactivate": true}, func(a schema.Account) bool { return a.Deactivated }},
	} {
		if w.ask(w.root, "POST", "/users/"+dave, change.body, 200); !change.is(w.account(dave)) {
			t.Errorf("%v: %+v", change.body, w.account(dave))
		}
	}
	for _, bad := range []any{clienttest.J{"password": ""}, clienttest.J{"password": strings.Repeat("x", 10_000)}, clienttest.J{"admin": "yes"}, []string{}} {
		w.ask(w.root, "POST", "/users/dave", bad, 400)
	}
	w.ask(w.root, "POST", "/users/nobody", clienttest.J{"locked": true}, 404)
	if log := w.log.String(); strings.Contains(log, secret) || !strings.Contains(log, "SetAccountFlags") || !strings.Contains(log, "by="+w.root.ID) {
		t.Errorf("the log:\n%s", log)
	}
}

func TestMessagesAreRedacted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	first := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	second := bob.CreateRoom(clienttest.J{"preset": "public_chat", "room_version": "10"})
	gone := alice.CreateRoom(clienttest.J{"preset": "public_chat"}) // where nobody is left who could
	for _, roomID := range []string{first, second, gone} {
		alice.Join(roomID)
		bob.Join(roomID)
	}
	said := map[string]string{bob.Say(first, "one"): first, bob.Say(first, "two"): first, bob.Say(second, "three"): second}
	bob.Say(gone, "x")
	kept := alice.Say(first, "mine")
	bob.Leave(first) // alice has the power there
	bob.Leave(gone)
	alice.Leave(gone)
	path := "/users/bob/redact"
	redacted := func(roomID, eventID string) bool {
		t.Helper()
		row, ok, err := schema.EventsByID.Get(t.Context(), w.Store, schema.EventByID{RoomID: roomID, EventID: eventID})
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		event, _, err := schema.Events.Get(t.Context(), w.Store, schema.Event{RoomID: roomID, Seq: row.Seq})
		if err != nil {
			t.Fatal(err)
		}
		return event.RedactedBy != ""
	}
	w.ask(w.root, "POST", "/users/@Not%20One/redact", nil, 400)
	w.ask(w.root, "POST", path, clienttest.J{"from": "x"}, 400)
	if done := w.ask(w.root, "POST", path, clienttest.J{"room_id": second, "reason": "spam"}, 200); done.Get("redacted").Int() != 1 || done.Get("failed").Exists() {
		t.Errorf("one room: %s", done)
	}
	done := w.ask(w.root, "POST", path, nil, 200)
	if done.Get("redacted").Int() != 2 || len(done.Get("failed").Map()) != 1 || !done.Get("failed."+gjson.Escape(gone)).Exists() || done.Get("next").Exists() {
		t.Errorf("all rooms: %s", done)
	}
	for eventID, roomID := range said {
		if !redacted(roomID, eventID) {
			t.Errorf("%s is not redacted", eventID)
		}
	}
	if redacted(first, kept) {
		t.Error("what somebody else has said is redacted")
	}
}

// What is more than one request does is asked for by the next.
func TestManyMessagesAreRedacted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	a, b := alice.CreateRoom(clienttest.J{}), alice.CreateRoom(clienttest.J{})
	for range 300 {
		alice.Say(a, "x")
		alice.Say(b, "x")
	}
	var counts []int64
	for from := ""; ; {
		done := w.ask(w.root, "POST", "/users/alice/redact", clienttest.J{"from": from}, 200)
		counts = append(counts, done.Get("redacted").Int())
		if from = done.Get("next").Str; from == "" {
			break
		}
	}
	if !slices.Equal(counts, []int64{500, 100}) {
		t.Errorf("%v", counts)
	}
}

func TestALockHoldsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	alice.Get("/account/whoami").OK()
	w.ask(w.root, "POST", "/users/alice", clienttest.J{"locked": true}, 200)
	alice.Get("/account/whoami").Refused(401, "M_USER_LOCKED")
	w.ask(w.root, "POST", "/users/alice", clienttest.J{"locked": false}, 200)
	alice.Get("/account/whoami").OK()
	w.ask(w.root, "POST", "/users/alice", clienttest.J{"password": "old"}, 200)
	alice.Token = w.Nobody().Post("/login", clienttest.J{"type": "m.login.password", "identifier": clienttest.J{"type": "m.id.user", "user": "alice"}, "password": "old"}).OK().Text("access_token")
	alice.Get("/account/whoami").OK()
	w.ask(w.root, "POST", "/users/alice", clienttest.J{"password": "new", "log_out": true}, 200)
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
}

func TestRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat", "name": "Sailing Club", "topic": "boats"})
	other := alice.CreateRoom(clienttest.J{})
	bob.Join(roomID)
	eventID := bob.Say(roomID, "x")
	if got := w.get("/rooms").Get("rooms.#").Int(); got != 2 {
		t.Errorf("%d rooms", got)
	}
	if got := w.get("/rooms?match=sailing"); got.Get("rooms.#").Int() != 1 || got.Get("rooms.0.room_id").Str != roomID {
		t.Errorf("%s", got)
	}
	if page := w.get("/rooms?limit=1"); w.get("/rooms?limit=1&from="+url.QueryEscape(page.Get("next").Str)).Get("rooms.0.room_id").Str == page.Get("rooms.0.room_id").Str {
		t.Errorf("%s", page)
	}
	path := "/rooms/" + url.PathEscape(roomID)
	now := w.get(path)
	if now.Get("joined_members").Int() != 2 || now.Get("extremities.0").Str != eventID || now.Get("actor.seq").Int() != now.Get("seq").Int() || now.Get("home").Str != "a" || now.Get("topic").Str != "boats" {
		t.Errorf("%s", now)
	}
	w.ask(w.root, "POST", actorPath("room", roomID)+"/stop", nil, 200)
	if rest := w.get(path); rest.Get("actor").Exists() || rest.Get("seq").Int() != now.Get("seq").Int() || rest.Get("trouble").Exists() {
		t.Errorf("at rest: %s", rest)
	}
	if _, err := w.Node.Inspect(t.Context(), cluster.Identity{Kind: cluster.KindRoom, ID: roomID}); err == nil {
		t.Error("to look at it wakes the room")
	}
	bob.Leave(roomID)
	for query, want := range map[string][]string{"": {alice.ID, bob.ID}, "?membership=join": {alice.ID}, "?membership=leave": {bob.ID}, "?membership=ban": nil, "?match=BOB": {bob.ID}, "?limit=1": {alice.ID},
		"?limit=1&from=" + url.QueryEscape(alice.ID): {bob.ID}} {
		var got []string
		for _, id := range w.get(path + "/members" + query).Get("members.#.user_id").Array() {
			got = append(got, id.Str)
		}
		if !slices.Equal(got, want) {
			t.Errorf("members %s: %v", query, got)
		}
	}
	for path, status := range map[string]int{"/rooms/!none": 404, "/rooms/!none/members": 404, path + "/members?membership=x": 400, "/rooms/" + url.PathEscape(other) + "/members?limit=-1": 400} {
		w.ask(w.root, "GET", path, nil, status)
	}
}

func TestActorsOfOneNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	busy, idle := alice.CreateRoom(clienttest.J{}), alice.CreateRoom(clienttest.J{})
	for range 5 {
		alice.Say(busy, "x")
	}
	alice.Get("/sync?timeout=0").OK()
	list := w.get("/actors?kind=room&sort=messages")
	if list.Get("actors.#").Int() != 2 || list.Get("actors.0.id").Str != busy || list.Get("actors.1.id").Str != idle || list.Get("actors.0.node").Str != "a" {
		t.Errorf("%s", list)
	}
	for query, want := range map[string]int64{"?match=" + url.QueryEscape(idle): 1, "?kind=user&match=alice": 1, "?kind=nothing": 0, "?limit=1": 1, "?node=a&kind=room": 2} {
		if got := w.get("/actors" + query).Get("actors.#").Int(); got != want {
			t.Errorf("%s: %d", query, got)
		}
	}
	if got := w.get(actorPath("room", busy)); got.Get("kind").Str != "room" || got.Get("seq").Int() < 5 || got.Get("details.state").Str != "active" {
		t.Errorf("%s", got)
	}
	if got := w.get(actorPath("room", busy) + "/errors"); got.Raw != `{"errors":[]}` {
		t.Errorf("%s", got)
	}
	for _, bad := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/actors?sort=x", 400}, {"GET", "/actors?limit=0", 400}, {"GET", "/actors?node=b", 404}, {"GET", actorPath("room", "!none"), 404}, {"GET", actorPath("kind", "x"), 404},
		{"POST", actorPath("room", "!none") + "/stop", 404}, {"POST", actorPath("room", busy) + "/move?to=b", 400}, {"POST", actorPath("node", "a") + "/move?to=a", 400},
		{"POST", actorPath("room", busy) + "/move?to=a&pinned=x", 400}, {"POST", "/cluster/a/drain", 400}, {"POST", "/cluster/rebalance?dry_run=true", 400}, {"DELETE", "/cluster", 405},
	} {
		w.ask(w.root, bad.method, bad.path, nil, bad.status)
	}
	status := w.get("/cluster").Get("nodes")
	if status.Get("#").Int() != 1 || status.Get("0.node").Str != "a" || status.Get("0.actors.room").Int() != 2 || status.Get("0.draining").Bool() {
		t.Errorf("%s", status)
	}
}

func TestErrorsAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster()
	id := cluster.Identity{Kind: "faulty", ID: "x"}
	fail := func() {
		t.Helper()
		if _, err := w.Node.Ask(t.Context(), id, &messages.Done{}); err == nil {
			t.Fatal("an actor that cannot begin answers")
		}
	}
	fail()
	w.ask(w.root, "POST", actorPath(id.Kind, id.ID)+"/move?to=b", nil, 200)
	fail()
	list := w.get(actorPath(id.Kind, id.ID) + "/errors").Get("errors")
	if list.Get("#").Int() != 2 || list.Get("0.node").Str != "b" || list.Get("1.node").Str != "a" || !strings.Contains(list.Get("0.error").Str, "torn") || list.Get("0.ts").Int() < list.Get("1.ts").Int() {
		t.Errorf("%s", list)
	}
}

func TestTwoNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster()
	alice := w.Register("alice")
	roomID, second := alice.CreateRoom(clienttest.J{}), alice.CreateRoom(clienttest.J{})
	path := actorPath("room", roomID)
	w.ask(w.root, "POST", path+"/move?to=b", nil, 200)
	alice.Say(roomID, "x")
	if got := w.get(path); got.Get("node").Str != "b" || got.Get("seq").Int() == 0 {
		t.Errorf("%s", got)
	}
	if got := w.get("/rooms/" + url.PathEscape(roomID)); got.Get("home").Str != "b" || got.Get("actor.node").Str != "b" || !got.Get("extremities.0").Exists() {
		t.Errorf("%s", got)
	}
	nodesOf := func(query string) map[string]string {
		found := map[string]string{}
		for _, a := range w.get("/actors" + query).Get("actors").Array() {
			found[a.Get("id").Str] = a.Get("node").Str
		}
		return found
	}
	if got := nodesOf("?kind=room"); len(got) != 2 || got[roomID] != "b" || got[second] != "a" {
		t.Errorf("%v", got)
	}
	if got := nodesOf("?kind=room&node=b"); len(got) != 1 || got[roomID] != "b" {
		t.Errorf("%v", got)
	}
	if got := nodesOf("?kind=room&limit=1&sort=recent"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	w.ask(w.root, "POST", path+"/move?to=nowhere", nil, 404)
	w.ask(w.root, "POST", path+"/stop", nil, 200)
	w.ask(w.root, "GET", path, nil, 404)
	if got := w.get("/cluster").Get("nodes"); got.Get("#").Int() != 2 || got.Get("1.node").Str != "b" || got.Get("1.actors.room").Int() != 0 {
		t.Errorf("%s", got)
	}
	w.ask(w.root, "POST", "/cluster/b/drain?draining=x", nil, 400)
	w.ask(w.root, "POST", "/cluster/c/drain", nil, 404)
	w.ask(w.root, "POST", "/cluster/b/drain", nil, 200)
	if got := w.get("/cluster").Get("nodes.1.draining"); !got.Bool() {
		t.Error("b is not draining")
	}
	if got := w.get("/rooms/" + url.PathEscape(roomID)).Get("home").Str; got != "a" {
		t.Errorf("it lives on %s while b is drained", got)
	}
	w.ask(w.root, "POST", path+"/move?to=b", nil, 404)
	w.ask(w.root, "POST", "/cluster/b/drain?draining=false", nil, 200)
	w.ask(w.root, "POST", path+"/move", nil, 200)
	if w.Node.Membership().View().Pinned(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}) {
		t.Error("it is still pinned")
	}
	w.ask(w.root, "POST", path+"/move?to=b&pinned=false", nil, 200)
	if w.Node.Owner(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}) != "b" || w.Node.Membership().View().Pinned(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}) {
		t.Error("it was not moved, or is pinned")
	}
	if log := w.log.String(); !strings.Contains(log, "an actor is moved") || !strings.Contains(log, "to=b") || !strings.Contains(log, "draining=true") {
		t.Errorf("the log:\n%s", log)
	}
}

// A node that does not answer is named, and the others are told of.
func TestANodeThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster()
	alice := w.Register("alice")
	alice.CreateRoom(clienttest.J{})
	gone := &desk{directory: w.dir}
	if err := gone.Join(t.Context(), cluster.Member{Name: "c", Incarnation: "x", Address: "127.0.0.1:1", Version: "test"}, func(cluster.Observation) {}); err != nil {
		t.Fatal(err)
	}
	status := w.get("/cluster").Get("nodes")
	if status.Get("#").Int() != 3 || status.Get("2.node").Str != "c" || !strings.Contains(status.Get("2.trouble").Str, "does not answer") || status.Get("0.trouble").Exists() {
		t.Errorf("%s", status)
	}
	list := w.get("/actors")
	if list.Get("actors.#").Int() == 0 || !list.Get("unreachable.c").Exists() {
		t.Errorf("%s", list)
	}
	if err := gone.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The socket asks for no token, and has the profiles of the process.
func TestSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewServer(admin.Socket(w.deps, slog.New(slog.DiscardHandler)))
	defer server.Close()
	for path, wanted := range map[string]string{admin.Base + "/users": w.root.ID, admin.Base + "/cluster": `"node":"a"`, "/debug/pprof/": "goroutine", admin.Base + "/openapi.yaml": "openapi: 3.1"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), wanted) {
			t.Errorf("%s: %d %.300s %v", path, resp.StatusCode, body, err)
		}
	}
	if status, _ := w.request("", "GET", "/../../../debug/pprof/", nil); status == 200 {
		t.Error("profiles over the network")
	}
	resp, err := http.Post(server.URL+admin.Base+"/users/erin", "application/json", strings.NewReader(`{"create":true,"password":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || !strings.Contains(w.log.String(), "the operator of the machine") {
		t.Errorf("%d\n%s", resp.StatusCode, w.log)
	}
}
