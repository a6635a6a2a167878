package federation

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

func escaped(s string) string { return url.PathEscape(s) }

// multipartly answers with media as the specification has it (server-server API, "Content Repository"): the second part has these headers and body.
func multipartly(headers, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		_, _ = fmt.Fprintf(w, "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n%s\r\n\r\n%s\r\n--b--\r\n", headers, body)
	}
}

// TestHostileMedia: media of another server never comes, never ends, or leads into a private network (HARD_PLACES.md 38).
func TestHostileMedia(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1, "federation.timeout=3s", "federation.retry_longest=1s", "media.max_remote=1MiB")[0]
	t.Cleanup(func() { unharmed(t, server) })
	alice := server.User(t, "alice")
	for name, bad := range map[string]struct {
		answer http.HandlerFunc
		status int
	}{
		"never comes":     {hang, 502},
		"is no multipart": {text("file"), 502},
		"has one part": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			_, _ = w.Write([]byte("--b\r\n\r\n{}\r\n--b--\r\n"))
		}, 502},
		"is too large":                     {multipartly("Content-Type: text/plain", strings.Repeat("x", 2<<20)), 502},
		"redirects the signed request":     {redirect, 502},
		"leads into a private network":     {multipartly("Location: https://10.0.0.1/secret", ""), 502},
		"leads to the cloud's metadata":    {multipartly("Location: https://169.254.169.254/latest", ""), 502},
		"leads to the machine by IPv6":     {multipartly("Location: https://[::1]/", ""), 502},
		"leads to plain http":              {multipartly("Location: http://127.0.0.1/", ""), 502},
		"leads to a file":                  {multipartly("Location: file:///etc/passwd", ""), 502},
		"leads to a place with a password": {multipartly("Location: https://user:word@127.0.0.1/", ""), 502},
		"is refused without reason":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := authority.Crafter(t)
			c.Answer("download", bad.answer)
			download(t, alice, bad.status, "/download/"+c.Name+"/m1?timeout_ms=1000")
			c.Answer("download", multipartly("Content-Type: text/plain", "good"))
			if _, content := download(t, alice, 200, "/download/"+c.Name+"/m2"); content != "good" {
				t.Errorf("good media afterwards: %q", content)
			}
		})
	}
	t.Run("of a third server", func(t *testing.T) {
		c := authority.Crafter(t)
		if _, err := c.Ask(server, "GET", "/_matrix/federation/v1/media/download/"+escaped("../../../etc/passwd"), nil); err == nil {
			t.Error("a file of the machine is given")
		}
	})
}

// TestHostileAnswers: what another server answers to the questions of clients is theirs only as far as it may speak of it.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	alice, bob := newPerson(t, server, "alice"), newPerson(t, server, "bob")
	c := authority.Crafter(t)
	mallory, stranger := c.User("mallory"), "@stranger:example.org"
	answer := func(endpoint string, body any) {
		c.Answer(endpoint, func(w http.ResponseWriter, _ *http.Request) { peers.JSON(w, http.StatusOK, body) })
	}
	device := func(user, id string) J {
		return J{"user_id": user, "device_id": id, "algorithms": []string{}, "keys": J{"ed25519:" + id: "a"}, "signatures": J{}}
	}
	answer("user", J{
		"device_keys":      J{mallory: J{"OWN": device(mallory, "OWN"), "LIE": device(bob.UserID, "LIE"), "BAD": 7}, bob.UserID: J{"EVIL": device(bob.UserID, "EVIL")}, stranger: J{"EVIL": device(stranger, "EVIL")}},
		"master_keys":      J{bob.UserID: J{"user_id": bob.UserID, "usage": []string{"master"}, "keys": J{"ed25519:evil": "evil"}}, mallory: J{"user_id": bob.UserID, "keys": J{}}},
		"one_time_keys":    J{bob.UserID: J{"X": J{"signed_curve25519:evil": J{"key": "evil"}}}, mallory: J{"OWN": J{"signed_curve25519:a": J{"key": "a"}}}},
		"user_id":          bob.UserID,
		"stream_id":        -1,
		"devices":          []J{},
		"master_key":       J{"user_id": bob.UserID},
		"self_signing_key": 7,
	})
	keys := alice.do("POST", "/keys/query", J{"device_keys": J{mallory: []string{}, bob.UserID: []string{}}})
	if raw := strings.ToLower(keys.Raw); strings.Contains(raw, "evil") || strings.Contains(keys.Raw, "LIE") || strings.Contains(raw, "stranger") || keys.Get("master_keys").Map()[mallory].Exists() {
		t.Errorf("alice learns the keys %s", keys)
	}
	claimed := alice.do("POST", "/keys/claim", J{"one_time_keys": J{mallory: J{"OWN": "signed_curve25519"}}})
	if strings.Contains(claimed.Raw, "evil") {
		t.Errorf("alice claims the keys %s", claimed)
	}

	// What was answered is remembered, so that each question is another one.
	for i, bad := range []string{`[]`, `"x"`, `{"displayname":7,"avatar_url":{}}`, `{"displayname":"` + strings.Repeat("x", 1<<20) + `"}`, `{"a":` + strings.Repeat("[", 20_000)} {
		c.Answer("query", text(bad))
		if got, err := alice.Do(t.Context(), "GET", "/profile/"+escaped(fmt.Sprint("@x", i, ":", c.Name)), nil); err == nil && (len(got.Raw) > 100_000 || got.Get("displayname").Type.String() == "Number") {
			t.Errorf("a profile of %.40s gives %.80s", bad, got)
		}
	}
	for _, bad := range []string{`[]`, `{}`, `{"room_id":7,"servers":{}}`, `{"room_id":"../../x","servers":["a b"]}`, `{"room_id":"!r:x","servers":"x"}`} {
		c.Answer("query", text(bad))
		if got, err := alice.Do(t.Context(), "GET", matrixclient.Path("directory", "room", "#den:"+c.Name), nil); err == nil {
			t.Errorf("the alias leads to %s by %s", got, bad)
		}
	}
	for i, bad := range []string{`[]`, `{"chunk":7}`, `{"chunk":[1,"x",{}]}`, `{"chunk":[{"room_id":7}]}`} {
		c.Answer("publicRooms", text(bad))
		if got, err := alice.Do(t.Context(), "GET", fmt.Sprint("/publicRooms?limit=", i+1, "&server=", url.QueryEscape(c.Name)), nil); err == nil && got.Get("chunk.#").Int() > 0 {
			t.Errorf("the directory shows %s by %s", got, bad)
		}
	}
	// A space whose children have no end: each page is bounded.
	child := func(room string) J {
		return J{"room_id": room, "num_joined_members": 1, "world_readable": true, "guest_can_join": false, "join_rule": "public", "room_type": "m.space",
			"children_state": []J{{"type": "m.space.child", "state_key": "!further" + fmt.Sprint(transactions.Add(1)) + ":" + c.Name, "sender": mallory, "origin_server_ts": 1, "content": J{"via": []string{c.Name}}}}}
	}
	c.Answer("hierarchy", func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		peers.JSON(w, http.StatusOK, J{"room": child(parts[len(parts)-1]), "children": []J{}, "inaccessible_children": []string{}})
	})
	space := alice.create(J{"preset": "private_chat", "creation_content": J{"type": "m.space"}})
	if _, err := alice.SetState(t.Context(), space, "m.space.child", "!den:"+c.Name, J{"via": []string{c.Name}}); err != nil {
		t.Fatal(err)
	}
	if got := newer(t, alice.Client, "/rooms/"+escaped(space)+"/hierarchy?limit=1000"); len(got.Get("rooms").Array()) < 2 || c.Asked("hierarchy") > 1000 {
		t.Errorf("the space has %d rooms, asked for %d times", len(got.Get("rooms").Array()), c.Asked("hierarchy"))
	}

	for _, endpoint := range []string{"query", "publicRooms"} {
		c.Answer(endpoint, hang)
	}
	refusedWith(t, alice.Client, 502, "M_UNKNOWN", "GET", "/profile/"+escaped(mallory), nil)
	refusedWith(t, alice.Client, 502, "M_UNKNOWN", "GET", "/publicRooms?server="+url.QueryEscape(c.Name), nil)
}
