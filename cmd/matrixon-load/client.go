package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

// client is a logged-in user.
type client struct {
	server *server
	url    string // of the node that it speaks to
	userID string
	token  string
	http   *http.Client
}

var accounts atomic.Int64

// register makes an account and logs it in.
func register(ctx context.Context, s *server) (*client, error) {
	n := accounts.Add(1)
	c := &client{server: s, url: s.urls[int(n)%len(s.urls)], http: s.http}
	var answer struct {
		UserID      string `json:"user_id"`
		AccessToken string `json:"access_token"`
	}
	err := c.call(ctx, http.MethodPost, "/v3/register", map[string]any{
		"username": "load" + strconv.FormatInt(n, 10), "password": "load-password",
		"auth": map[string]string{"type": "m.login.dummy"}}, &answer)
	c.userID, c.token = answer.UserID, answer.AccessToken
	return c, err
}

// registerMany makes accounts beside each other.
func registerMany(ctx context.Context, s *server, n int) ([]*client, error) {
	clients := make([]*client, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32) // passwords are hashed by few at once, and who waits for long is sent away
	for i := range n {
		group.Go(func() (err error) {
			clients[i], err = register(ctx, s)
			return err
		})
	}
	return clients, group.Wait()
}

// parallel runs f for 0 to n−1, some at once.
func parallel(ctx context.Context, n int, f func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// call sends a request and reads the answer; an answer other than 200 is an error.
func (c *client) call(ctx context.Context, method, path string, body, answer any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+"/_matrix/client"+path, reader)
	if err != nil {
		return err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// createRoom makes a public room.
func (c *client) createRoom(ctx context.Context) (string, error) {
	var answer struct {
		RoomID string `json:"room_id"`
	}
	err := c.call(ctx, http.MethodPost, "/v3/createRoom", map[string]any{"preset": "public_chat"}, &answer)
	return answer.RoomID, err
}

func (c *client) join(ctx context.Context, roomID string) error {
	return c.call(ctx, http.MethodPost, "/v3/rooms/"+url.PathEscape(roomID)+"/join", map[string]any{}, nil)
}

// message is about 1 kB, as a long chat message is.
var message = map[string]any{"msgtype": "m.text", "body": string(bytes.Repeat([]byte("All work and no play. "), 40))}

func (c *client) send(ctx context.Context, roomID, txn string, content any) error {
	return c.call(ctx, http.MethodPut, "/v3/rooms/"+url.PathEscape(roomID)+"/send/m.room.message/"+txn, content, nil)
}

// syncAnswer is what the scenarios read of a sync.
type syncAnswer struct {
	NextBatch string `json:"next_batch"`
	Rooms     struct {
		Join map[string]struct {
			Timeline struct {
				Events []struct {
					Content struct {
						SentAt int64 `json:"sent_at"`
					} `json:"content"`
				} `json:"events"`
			} `json:"timeline"`
		} `json:"join"`
	} `json:"rooms"`
}

// delivered adds how long the messages of timedMessage in a room took, and gives how many there were.
func (a *syncAnswer) delivered(room string, to *latencies) (n int) {
	for _, e := range a.Rooms.Join[room].Timeline.Events {
		if e.Content.SentAt != 0 {
			to.add(time.Since(time.UnixMicro(e.Content.SentAt)))
			n++
		}
	}
	return n
}

// timedMessage is a message that says when it was sent.
func timedMessage() map[string]any {
	return map[string]any{"msgtype": "m.text", "body": "hello", "sent_at": time.Now().UnixMicro()}
}

func (c *client) sync(ctx context.Context, since string, timeoutMS int) (syncAnswer, error) {
	q := url.Values{"timeout": {strconv.Itoa(timeoutMS)}}
	if since != "" {
		q.Set("since", since)
	}
	var answer syncAnswer
	err := c.call(ctx, http.MethodGet, "/v3/sync?"+q.Encode(), nil, &answer)
	return answer, err
}
