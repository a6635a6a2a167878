package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// at is the same client at one certain node.
func (u *user) at(m *member) *user {
	there := *u
	there.web = newWeb()
	there.web.use(m.URL)
	return &there
}

// must makes a request that has to succeed.
func (u *user) must(t *testing.T, ctx context.Context, method, path string, body any) gjson.Result { //nolint:revive // t first, as in all tests
	t.Helper()
	answer, err := u.do(ctx, method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// hear syncs until the answer satisfies the condition.
func (u *user) hear(t *testing.T, ctx context.Context, since string, is func(gjson.Result) bool) string { //nolint:revive // as above
	t.Helper()
	for {
		path := "/sync?timeout=5000"
		if since != "" {
			path += "&since=" + url.QueryEscape(since)
		}
		answer := u.must(t, ctx, "GET", path, nil)
		since = answer.Get("next_batch").Str
		if is(answer) {
			return since
		}
	}
}

// key quotes what has dots for a path of gjson.
func key(s string) string { return strings.ReplaceAll(s, ".", `\.`) }

// TestEverywhere uses a homeserver of two nodes of which neither needs to be told what was done at the other.
func TestEverywhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	a, b := f.members[0], f.members[1]
	alice, err := register(ctx, f.web, "alice")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := register(ctx, f.web, "bob")
	if err != nil {
		t.Fatal(err)
	}
	roomID := alice.at(a).must(t, ctx, "POST", "/createRoom", map[string]any{
		"preset": "public_chat", "visibility": "public", "name": "the hall", "room_alias_name": "hall"}).Get("room_id").Str

	t.Run("what happens at one node is known at the other", func(t *testing.T) {
		t.Run("aliases and the directory", func(t *testing.T) {
			t.Parallel()
			server := alice.id[strings.Index(alice.id, ":")+1:]
			found := bob.at(b).must(t, ctx, "GET", "/directory/room/"+url.PathEscape("#hall:"+server), nil)
			if got := found.Get("room_id").Str; got != roomID {
				t.Errorf("the alias leads to %s at the other node", got)
			}
			public := bob.at(b).must(t, ctx, "GET", "/publicRooms", nil)
			if got := public.Get("chunk.#.room_id").String(); !strings.Contains(got, roomID) {
				t.Errorf("the public rooms at the other node are %s", got)
			}
		})

		t.Run("typing, receipts and presence", func(t *testing.T) {
			t.Parallel()
			here, there := alice.at(a), bob.at(b)
			there.must(t, ctx, "POST", "/join/"+url.PathEscape(roomID), map[string]any{})
			since := there.hear(t, ctx, "", func(r gjson.Result) bool { return r.Get("rooms.join." + key(roomID)).Exists() })
			here.must(t, ctx, "PUT", "/rooms/"+roomID+"/typing/"+alice.id, map[string]any{"typing": true, "timeout": 20000})
			since = there.hear(t, ctx, since, func(r gjson.Result) bool {
				return r.Get("rooms.join."+key(roomID)+`.ephemeral.events.#(type=="m.typing").content.user_ids.0`).Str == alice.id
			})
			sent, err := there.send(ctx, roomID, "t1", "read this")
			if err != nil {
				t.Fatal(err)
			}
			here.must(t, ctx, "POST", "/rooms/"+roomID+"/receipt/m.read/"+url.PathEscape(sent), map[string]any{})
			since = there.hear(t, ctx, since, func(r gjson.Result) bool {
				return r.Get("rooms.join." + key(roomID) + `.ephemeral.events.#(type=="m.receipt").content.` + key(sent)).Exists()
			})
			here.must(t, ctx, "PUT", "/presence/"+alice.id+"/status", map[string]any{"presence": "unavailable", "status_msg": "out"})
			there.hear(t, ctx, since, func(r gjson.Result) bool {
				return strings.Contains(r.Get(`presence.events.#(sender=="`+alice.id+`")#.content.status_msg`).String(), "out")
			})
		})

		t.Run("profiles, while a sync waits", func(t *testing.T) {
			t.Parallel()
			here, err := register(ctx, f.web, "erin")
			if err != nil {
				t.Fatal(err)
			}
			there, err := register(ctx, f.web, "frank")
			if err != nil {
				t.Fatal(err)
			}
			here, there = here.at(a), there.at(b)
			shared := here.must(t, ctx, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).Get("room_id").Str
			there.must(t, ctx, "POST", "/join/"+url.PathEscape(shared), map[string]any{})
			const wait = 30 * time.Second
			path := "/sync?filter=" + url.QueryEscape(`{"presence":{"types":[]},"profile_fields":{"ids":["m.tz"]}}`) + "&timeout="
			since := there.must(t, ctx, "GET", path+"0", nil).Get("next_batch").Str
			told := make(chan error, 1)
			began := time.Now()
			go func() {
				for {
					answer, err := there.do(ctx, "GET", fmt.Sprintf("%s%d&since=%s", path, wait.Milliseconds(), url.QueryEscape(since)), nil)
					if err != nil || answer.Get("users."+key(here.id)+`.profile_updates.m\.tz`).Str == "Europe/Rome" {
						told <- err
						return
					}
					since = answer.Get("next_batch").Str
				}
			}()
			here.must(t, ctx, "PUT", "/profile/"+here.id+"/m.tz", map[string]any{"m.tz": "Europe/Rome"})
			if err := <-told; err != nil {
				t.Error(err)
			} else if took := time.Since(began); took >= wait {
				t.Errorf("a sync at the other node waited %v for a changed profile", took)
			}
		})

		t.Run("a token that was revoked", func(t *testing.T) {
			t.Parallel()
			carol, err := register(ctx, f.web, "carol")
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range f.members {
				carol.at(m).must(t, ctx, "GET", "/account/whoami", nil) // so that both remember the token
			}
			carol.at(a).must(t, ctx, "POST", "/logout", map[string]any{})
			if err := refusedWithin(ctx, carol.at(b), *revokedWithin); err != nil {
				t.Error(err)
			}
		})

		t.Run("an account that was locked by the operator at the other node", func(t *testing.T) {
			t.Parallel()
			dave, err := register(ctx, f.web, "dave")
			if err != nil {
				t.Fatal(err)
			}
			dave.at(b).must(t, ctx, "GET", "/account/whoami", nil)
			if _, err := a.Run(ctx, "user", "lock", dave.id); err != nil {
				t.Fatal(err)
			}
			if err := refusedWithin(ctx, dave.at(b), *revokedWithin); err != nil {
				t.Error(err)
			}
		})
	})

	t.Run("readiness ends before a node does, and with a drain", func(t *testing.T) {
		if _, err := a.Run(ctx, "cluster", "drain", b.Name); err != nil {
			t.Fatal(err)
		}
		if b.Ready(ctx) == nil {
			t.Error("a drained node says that it is ready")
		}
		out, err := a.Run(ctx, "actors", "list", "--node", b.Name)
		if err != nil || strings.Contains(out, roomID) {
			t.Errorf("a drained node has actors: %v %s", err, out)
		}
		if _, err := b.Run(ctx, "cluster", "drain", b.Name, "--undo"); err != nil {
			t.Fatal(err)
		}
		for b.Ready(ctx) != nil && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("the node does not become ready again: %v", err)
		}
	})
}

// refusedWithin waits until the client is refused, for as long as a cluster may take to hear of a revocation.
func refusedWithin(ctx context.Context, u *user, within time.Duration) error {
	for until := time.Now().Add(within); ; {
		_, err := u.once(ctx, "GET", "/account/whoami", nil)
		var no *refused
		if errors.As(err, &no) && no.status == http.StatusUnauthorized {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("the token of %s is good at the other node after %v", u.id, within)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestLimitsAreExact sends through both nodes in turn, and is told to wait after as many as one node would let pass.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	const burst = 8
	f := newFleet(t, 2, "limits.enabled=true", "limits.message.per_second=0.01", fmt.Sprintf("limits.message.burst=%d", burst))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	alice, err := register(ctx, f.web, "alice")
	if err != nil {
		t.Fatal(err)
	}
	roomID := alice.must(t, ctx, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).Get("room_id").Str
	passed := 0
	for i := range 2 * burst {
		_, err := alice.at(f.members[i%2]).once(ctx, "PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d", roomID, i), map[string]any{"msgtype": "m.text", "body": "hi"})
		var no *refused
		switch {
		case err == nil:
			passed++
		case errors.As(err, &no) && no.status == http.StatusTooManyRequests:
		default:
			t.Fatal(err)
		}
	}
	if passed != burst {
		t.Errorf("%d sends passed, of a burst of %d", passed, burst)
	}
}
