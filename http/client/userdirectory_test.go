package client_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// named is a user with a display name.
func named(w *clienttest.World, name, displayName string) *clienttest.User {
	u := w.Register(name)
	u.Put(clienttest.Path("profile", u.ID, "displayname"), J{"displayname": displayName}).OK()
	return u
}

func findUsers(u *clienttest.User, term string) []string {
	return u.Post("/user_directory/search", J{"search_term": term}).OK().Texts("results.#.user_id")
}

func TestUserDirectory(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := named(w, "alice", "Alice")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	join := func(name, displayName string) string {
		u := named(w, name, displayName)
		u.Join(roomID)
		return u.ID
	}
	ann, annika := join("ann", "Ann Smith"), join("aj", "Annika Jönsson")
	tokyo, plain := join("tokyo", "東京 太郎"), join("john.smith", "John")
	for term, want := range map[string][]string{
		"ann":                     {ann, annika},
		"ANNI":                    {annika},
		"jonsson":                 {annika},
		"smi":                     {ann, plain},
		"smith ann":               {ann},
		"john smith":              {plain},
		"太郎":                      {tokyo},
		"郎":                       {tokyo},
		"東":                       {tokyo},
		"@ann":                    {ann, annika},
		"@ann:example.org":        {ann, annika},
		"@ann:exa":                {ann, annika},
		"@ann:elsewhere.example":  {},
		"@john.smith:example.org": {plain},
		"nobody":                  {},
		"":                        {},
		"!?":                      {},
		"alice":                   {}, // oneself
	} {
		if got := findUsers(alice, term); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", term, got, want)
		}
	}
	bob := named(w, "bob", "Bob")
	bob.Put(clienttest.Path("profile", bob.ID, "avatar_url"), J{"avatar_url": "mxc://example.org/b"}).OK()
	bob.Join(roomID)
	alice.Post("/user_directory/search", J{"search_term": "bob"}).OK().
		Has("results", `[{"user_id":"@bob:example.org","display_name":"Bob","avatar_url":"mxc://example.org/b"}]`).Has("limited", "false")
	// A new name replaces the old one.
	bob.Put(clienttest.Path("profile", bob.ID, "displayname"), J{"displayname": "Robert"}).OK()
	if got := findUsers(alice, "robert"); !slices.Equal(got, []string{bob.ID}) {
		t.Errorf("the new name: %v", got)
	}
	bob.Put(clienttest.Path("profile", bob.ID, "displayname"), J{"displayname": "Someone"}).OK()
	if got := findUsers(alice, "robert"); len(got) > 0 {
		t.Errorf("the old name: %v", got)
	}
	if got := findUsers(alice, "bob"); !slices.Equal(got, []string{bob.ID}) {
		t.Errorf("the user name: %v", got)
	}
	alice.Post("/user_directory/search", J{"search_term": "ann", "limit": 1}).OK().Has("results.#", "1").Has("limited", "true")
	alice.Post("/user_directory/search", J{"search_term": "ann", "limit": 2}).OK().Has("results.#", "2").Has("limited", "false")
	alice.Post("/user_directory/search", J{}).Refused(400, "M_MISSING_PARAM")
	alice.Post("/user_directory/search", J{"search_term": "a", "limit": 0}).Refused(400, "M_INVALID_PARAM")
	alice.Post("/user_directory/search", J{"search_term": 1}).Refused(400, "M_BAD_JSON")
	w.Nobody().Post("/user_directory/search", J{"search_term": "a"}).Refused(401, "M_MISSING_TOKEN")
}

func TestUserDirectoryShowsWhomOneMayFind(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	asker, host := named(w, "asker", "Asker"), named(w, "host", "Host")
	shared, private := host.CreateRoom(J{}), host.CreateRoom(J{})
	host.Invite(shared, asker)
	asker.Join(shared)
	public := host.CreateRoom(J{"preset": "public_chat"})
	readable := host.CreateRoom(J{"initial_state": []J{{"type": "m.room.history_visibility", "content": J{"history_visibility": "world_readable"}}}})
	into := func(roomID string) func(u *clienttest.User) {
		return func(u *clienttest.User) {
			host.Invite(roomID, u)
			u.Join(roomID)
		}
	}
	for i, c := range []struct {
		name  string
		do    func(u *clienttest.User)
		found bool
	}{
		{"in no room", func(*clienttest.User) {}, false},
		{"in a shared room", into(shared), true},
		{"in a private room", into(private), false},
		{"in a public room", into(public), true},
		{"in a room that all may read", into(readable), true},
		{"invited only", func(u *clienttest.User) { host.Invite(shared, u) }, false},
		{"was in a shared room", func(u *clienttest.User) { into(shared)(u); u.Leave(shared) }, false},
		{"deactivated", func(u *clienttest.User) {
			into(public)(u)
			if err := client.Deactivate(t.Context(), client.Deps{Store: w.Store, Caller: w.Node, Now: w.Clock.Now}, w.Tokens, u.ID, false); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		u := named(w, fmt.Sprintf("user%d", i), "Somebody")
		c.do(u)
		if got := slices.Contains(findUsers(asker, "somebody"), u.ID); got != c.found {
			t.Errorf("%s: found: %v", c.name, got)
		}
	}
}

func TestUserDirectoryAsConfigured(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	asker := w.Register("asker")
	named(w, "stranger", "Stranger")
	for configured, want := range map[client.UserDirectory]string{
		{}:                              `[]`,
		{AllUsers: true}:                `[]`,
		{Enabled: true}:                 `[]`,
		{Enabled: true, AllUsers: true}: `[{"user_id":"@stranger:example.org","display_name":"Stranger"}]`,
	} {
		deps := client.Deps{ServerName: clienttest.ServerName, Store: w.Store, Caller: w.Node, Now: w.Clock.Now}
		a := api.New(api.Options{Auth: w.Tokens, Log: slog.New(slog.DiscardHandler), Now: w.Clock.Now})
		a.Add(api.Client, client.Rooms(deps, client.RoomOptions{Reader: w.Reader, UserDirectory: configured})...)
		r := httptest.NewRequest("POST", "/_matrix/client/v3/user_directory/search", strings.NewReader(`{"search_term":"stra"}`))
		r.Header.Set("Authorization", "Bearer "+asker.Token)
		answer := httptest.NewRecorder()
		a.Handler(api.Client).ServeHTTP(answer, r)
		if got := gjson.Get(answer.Body.String(), "results").Raw; got != want {
			t.Errorf("%+v: %s", configured, answer.Body)
		}
	}
}

func TestUserDirectoryIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), named(w, "bob", "Bob")
	w.Write(schema.Accounts.Put(schema.Account{UserID: "@gone:example.org", Deactivated: true}))
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	terms, err := schema.UserTerms.All(t.Context(), w.Store, persistence.Range[schema.UserTerm]{})
	if err != nil || len(terms) != 1 {
		t.Fatalf("%v %v", terms, err)
	}
	w.Write(schema.UserTerms.Delete(terms[0]))
	if got := findUsers(alice, "bob"); len(got) > 0 {
		t.Fatalf("found without a directory: %v", got)
	}
	deps := client.Deps{ServerName: clienttest.ServerName, Store: w.Store, Caller: w.Node, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler)}
	for range 2 {
		if err := client.ListUsers(t.Context(), deps, w.Store); err != nil {
			t.Fatal(err)
		}
		if got := findUsers(alice, "bob"); !slices.Equal(got, []string{bob.ID}) {
			t.Errorf("bob: %v", got)
		}
		if got := findUsers(bob, "ali"); !slices.Equal(got, []string{alice.ID}) {
			t.Errorf("alice: %v", got)
		}
	}
}
