package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// The secrets are planted where only some may see them.
const (
	secretPast   = "secret-of-the-past"        // a message from before they came: for nobody but the owner
	secretBefore = "secret-of-the-room-before" // state that they found: for all who were in the room
	secretAfter  = "secret-of-the-room-after"  // for those who are in it now
	secretOwn    = "secret-of-the-owner"       // for nobody else
)

// stage is a private room, its owner, and what the owner has.
type stage struct {
	w     *world
	ctx   context.Context
	q     request
	owner *person
	event string // the newest message
	n     int
	told  *sync.Map // who was told which secret, by any endpoint
}

// build makes the room and what is in it.
func (s *stage) build() error {
	var err error
	if s.owner, err = s.w.person(s.ctx, fmt.Sprintf("owner%d", s.n)); err != nil {
		return err
	}
	o := s.owner
	if o.room, err = o.CreateRoom(s.ctx, matrixclient.J{"preset": "private_chat", "initial_state": []any{
		matrixclient.J{"type": "m.room.history_visibility", "content": matrixclient.J{"history_visibility": "joined"}}}}); err != nil {
		return err
	}
	user := "/user/" + url.PathEscape(o.UserID)
	for path, body := range map[string]matrixclient.J{
		user + "/account_data/org.example.thing":                                      {"x": secretOwn},
		user + "/rooms/" + url.PathEscape(o.room) + "/account_data/org.example.thing": {"x": secretOwn},
		user + "/rooms/" + url.PathEscape(o.room) + "/tags/u." + secretOwn:            {},
		"/room_keys/keys/" + url.PathEscape(o.room) + "/x?version=" + o.backup: {"first_message_index": 1, "forwarded_count": 0, "is_verified": true,
			"session_data": matrixclient.J{"x": secretOwn}},
	} {
		if _, err := o.Do(s.ctx, "PUT", path, body); err != nil {
			return err
		}
	}
	filter, err := o.Do(s.ctx, "POST", user+"/filter", matrixclient.J{"room": matrixclient.J{"timeline": matrixclient.J{"types": []string{secretOwn}}}})
	if err != nil {
		return err
	}
	o.filter = filter.Get("filter_id").Str
	if _, err := o.Do(s.ctx, "PUT", "/sendToDevice/org.example.thing/secret", matrixclient.J{"messages": matrixclient.J{
		o.UserID: matrixclient.J{"*": matrixclient.J{"x": secretOwn}}}}); err != nil {
		return err
	}
	return s.say(secretPast, secretBefore)
}

// say leaves a secret in a message, and one in the state and among the members.
func (s *stage) say(message, state string) error {
	var err error
	if s.event, err = s.owner.Send(s.ctx, s.owner.room, "m.room.message", message, matrixclient.J{"msgtype": "m.text", "body": message}); err != nil {
		return err
	}
	if _, err = s.owner.SetState(s.ctx, s.owner.room, "org.example.thing", "x", matrixclient.J{"x": state}); err != nil {
		return err
	}
	_, err = s.owner.SetState(s.ctx, s.owner.room, "m.room.member", s.owner.UserID, matrixclient.J{"membership": "join", "displayname": state})
	return err
}

func (s *stage) admin(userID string, change string) error {
	socket := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.w.server.DataDir(), "admin.sock"))
	}}}
	resp, err := socket.Post("http://socket/_matrixon/admin/v1/users/"+url.PathEscape(userID), "application/json", strings.NewReader(change))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s", change, userID, resp.Status)
	}
	return nil
}

// enter makes somebody who is what the word says.
func (s *stage) enter(who string) (*matrixclient.Client, error) {
	nobody := &matrixclient.Client{URL: s.w.server.URL, HTTP: s.w.http}
	switch who {
	case "nobody":
		return nobody, nil
	case "unknown":
		nobody.Token = "no-such-token"
		return nobody, nil
	}
	c, err := nobody.Register(s.ctx, fmt.Sprintf("%s%d", who, s.n), "password")
	if err != nil {
		return nil, err
	}
	room := "/rooms/" + url.PathEscape(s.owner.room)
	own := func(what, target string) {
		if err == nil {
			_, err = s.owner.Do(s.ctx, "POST", room+what, matrixclient.J{"user_id": target})
		}
	}
	if !slices.Contains([]string{"stranger", "outsider", "banned"}, who) {
		own("/invite", c.UserID)
	}
	if !slices.Contains([]string{"stranger", "outsider", "banned", "invited"}, who) && err == nil {
		err = c.Join(s.ctx, s.owner.room)
	}
	switch who {
	case "logged-out":
		if err == nil {
			_, err = c.Do(s.ctx, "POST", "/logout", matrixclient.J{})
		}
	case "deactivated":
		if err == nil {
			_, err = c.Do(s.ctx, "POST", "/account/deactivate", matrixclient.J{"auth": matrixclient.J{"type": "m.login.password",
				"identifier": matrixclient.J{"type": "m.id.user", "user": c.UserID}, "password": "password"}})
		}
	case "locked", "suspended":
		if err == nil {
			err = s.admin(c.UserID, `{"`+who+`": true}`)
		}
	case "left":
		if err == nil {
			_, err = c.Do(s.ctx, "POST", room+"/leave", matrixclient.J{})
		}
	case "kicked":
		own("/kick", c.UserID)
	case "banned":
		own("/ban", c.UserID)
	}
	return c, err
}

// The people, rooms and events of the specification's examples.
var (
	people = regexp.MustCompile(`"@[^":]+:[^"]+"`)
	places = regexp.MustCompile(`"![^":]+:[^"]+"`)
	events = regexp.MustCompile(`"\$[^":]+:[^"]+"`)
	sought = regexp.MustCompile(`"(generic_)?search_term":"[^"]*"`)
)

// body is what the specification shows, with the owner, the room and its newest message in place of those in it, and with
// searches for what is secret, so that the request means something here.
func (s *stage) body() []byte {
	if len(s.q.Example) == 0 {
		if s.q.Method == "POST" || s.q.Method == "PUT" {
			return []byte("{}")
		}
		return nil
	}
	raw := people.ReplaceAll(s.q.Example, []byte(strconv.Quote(s.owner.UserID)))
	raw = places.ReplaceAll(raw, []byte(strconv.Quote(s.owner.room)))
	raw = events.ReplaceAll(raw, []byte(strings.ReplaceAll(strconv.Quote(s.event), "$", "$$")))
	raw = sought.ReplaceAll(raw, []byte(`"${1}search_term":"secret"`))
	var body any
	if json.Unmarshal(raw, &body) != nil {
		return nil
	}
	if m, ok := body.(map[string]any); ok {
		delete(m, "third_party_signed")
		delete(m, "room_alias_name") // is free only once
	}
	if raw, err := json.Marshal(body); err == nil {
		return raw
	}
	return nil
}

// knowing are those who may come to know what is secret.
var knowing = map[string][]string{
	secretOwn: {}, secretPast: {}, secretAfter: {"member", "another", "suspended"},
	secretBefore: {"member", "another", "suspended", "left", "kicked"},
}

// outcomes has everybody make the request, each in a state of their own, and gives what came of it; nil when that cannot be told.
func (s *stage) outcomes(t *testing.T) map[string]string {
	clients := map[string]*matrixclient.Client{}
	for _, who := range whos {
		c, err := s.enter(who)
		if err != nil {
			t.Errorf("%s: making somebody who is %s: %v", s.q, who, err)
			return nil
		}
		clients[who] = c
	}
	if err := s.say(secretAfter, secretAfter); err != nil {
		t.Error(err)
		return nil
	}
	results := map[string]string{}
	for _, who := range whos {
		c := clients[who]
		as := &person{Client: c, room: s.owner.room, alias: s.owner.alias, event: s.event, filter: s.owner.filter, backup: s.owner.backup}
		if slices.Contains(groups["other"], who) || c.UserID == "" { // asks for what is the owner's
			as.Client = &matrixclient.Client{UserID: s.owner.UserID, DeviceID: s.owner.DeviceID, Token: c.Token}
		}
		got, err := s.w.ask(s.ctx, s.q.Method, as.path(s.q, "", ""), c.Token, s.body())
		if err != nil {
			t.Errorf("%s by somebody who is %s: %v", s.q, who, err)
			continue
		}
		if wrong := got.malformed(); wrong != "" {
			t.Errorf("%s by somebody who is %s: %s: %s", s.q, who, wrong, got)
		}
		results[who] = got.outcome()
		for secret, knows := range knowing {
			if !bytes.Contains(got.body, []byte(secret)) {
				continue
			}
			s.told.Store(who+" "+secret, true)
			if !slices.Contains(knows, who) {
				t.Errorf("%s tells somebody who is %s %q", s.q, who, secret)
			}
		}
	}
	return results
}

// TestWhoMayDoWhat has everybody do everything, and compares what comes of it with the rules.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	wanted := byOperation(t)
	var mu sync.Mutex
	served := map[string]bool{}
	var told sync.Map
	work := make(chan *stage)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for s := range work {
				switch probe, err := w.ask(ctx, s.q.Method, s.q.Path, "", nil); {
				case err != nil:
					t.Errorf("%s: %v", s.q, err)
					continue
				case probe.code() == "M_UNRECOGNIZED": // is not served
					continue
				}
				if err := s.build(); err != nil {
					t.Error(err)
					continue
				}
				results := s.outcomes(t)
				if results == nil {
					continue
				}
				mu.Lock()
				served[s.q.ID] = true
				mu.Unlock()
				r, ok := wanted[s.q.ID]
				if !ok {
					t.Errorf("%s (%s) is served and has no rule", s.q, s.q.ID)
					continue
				}
				for _, who := range whos {
					if want := r.expected(who); results[who] != want {
						t.Errorf("%s (%s) by somebody who is %s: %s, not %s", s.q, s.q.ID, who, results[who], want)
					}
				}
			}
		})
	}
	for n, q := range requests(t) {
		work <- &stage{w: w, ctx: ctx, q: q, n: n, told: &told}
	}
	close(work)
	workers.Wait()
	for id := range wanted {
		if !served[id] {
			t.Errorf("%s has a rule and is not served", id)
		}
	}
	// Secrets that nobody could be told at all would prove nothing: who has left finds the state of their time, members that of now.
	for _, one := range []string{"left " + secretBefore, "kicked " + secretBefore, "member " + secretAfter, "another " + secretAfter} {
		if _, ok := told.Load(one); !ok {
			t.Errorf("no endpoint tells somebody who is %s", one)
		}
	}
	checkOwnSecrets(ctx, t, w)
	w.checkLog(t)
}

// checkOwnSecrets wants an owner to find all that is secret.
func checkOwnSecrets(ctx context.Context, t *testing.T, w *world) {
	t.Helper()
	s := &stage{w: w, ctx: ctx, n: len(requests(t))}
	if err := s.build(); err != nil {
		t.Fatal(err)
	}
	if err := s.say(secretAfter, secretAfter); err != nil {
		t.Fatal(err)
	}
	news, err := s.owner.Sync(ctx, "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	history, err := s.owner.Messages(ctx, s.owner.room, "", "b", 100)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := s.owner.Do(ctx, "GET", "/room_keys/keys?version="+s.owner.backup, nil)
	if err != nil {
		t.Fatal(err)
	}
	for secret := range knowing {
		if !strings.Contains(news.Raw+history.Raw, secret) {
			t.Errorf("the owner does not find %q", secret)
		}
	}
	for what, where := range map[string]string{
		"in the backup": backup.Raw, "in messages to devices": news.Get("to_device").Raw, "in account data": news.Get("account_data").Raw,
		"in the room's account data": news.Get("rooms.join").Map()[s.owner.room].Get("account_data").Raw,
	} {
		if !strings.Contains(where, secretOwn) {
			t.Errorf("the owner does not find %q %s", secretOwn, what)
		}
	}
}
