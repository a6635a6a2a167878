// Package matrixclient is a small Matrix client for tests that speak to a real server. It hides nothing: answers are JSON
// to be looked into, and what the server refuses is an error with its errcode. It repeats nothing either; a test that
// wants requests repeated gives it an http.Client that does so.
package matrixclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"
)

// J is a JSON object.
type J = map[string]any

// Client is a session, or nobody's when Token is empty.
type Client struct {
	URL  string // of the homeserver, such as http://127.0.0.1:8008
	HTTP *http.Client

	UserID, DeviceID, Token string
}

// Refusal is an answer with another status than 200.
type Refusal struct {
	Call    string // method and path
	Status  int
	Code    string // errcode
	Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.Call, r.Status, r.Code, r.Message)
}

// Do makes a request below /_matrix/client/v3; see Call.
func (c *Client) Do(ctx context.Context, method, path string, body any) (gjson.Result, error) {
	return c.Call(ctx, method, "/_matrix/client/v3"+path, body)
}

// Call makes a request. body is marshalled unless it is nil. An answer with another status than 200 is a *Refusal.
func (c *Client) Call(ctx context.Context, method, path string, body any) (gjson.Result, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return gjson.Result{}, err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, reader)
	if err != nil {
		return gjson.Result{}, err
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return gjson.Result{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return gjson.Result{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	call := method + " " + path
	if !gjson.ValidBytes(raw) {
		return gjson.Result{}, fmt.Errorf("%s: %s, and no JSON: %q", call, resp.Status, raw)
	}
	answer := gjson.ParseBytes(raw)
	if resp.StatusCode != http.StatusOK {
		return answer, &Refusal{Call: call, Status: resp.StatusCode, Code: answer.Get("errcode").Str, Message: answer.Get("error").Str}
	}
	return answer, nil
}

// Register makes an account on a server with open registration, and gives its session.
func (c *Client) Register(ctx context.Context, name, password string) (*Client, error) {
	return c.session(c.Do(ctx, http.MethodPost, "/register", J{
		"username": name, "password": password, "auth": J{"type": "m.login.dummy"}}))
}

// Login gives a new session of an account. An empty device makes a new one.
func (c *Client) Login(ctx context.Context, name, password, device string) (*Client, error) {
	body := J{"type": "m.login.password", "identifier": J{"type": "m.id.user", "user": name}, "password": password}
	if device != "" {
		body["device_id"] = device
	}
	return c.session(c.Do(ctx, http.MethodPost, "/login", body))
}

func (c *Client) session(answer gjson.Result, err error) (*Client, error) {
	if err != nil {
		return nil, err
	}
	return &Client{
		URL: c.URL, HTTP: c.HTTP, UserID: answer.Get("user_id").Str, DeviceID: answer.Get("device_id").Str,
		Token: answer.Get("access_token").Str,
	}, nil
}

// CreateRoom makes a room and gives its id.
func (c *Client) CreateRoom(ctx context.Context, body J) (string, error) {
	answer, err := c.Do(ctx, http.MethodPost, "/createRoom", body)
	return answer.Get("room_id").Str, err
}

// Join joins a room by id.
func (c *Client) Join(ctx context.Context, roomID string) error {
	_, err := c.Do(ctx, http.MethodPost, Path("rooms", roomID, "join"), J{})
	return err
}

// Send sends a message event and gives its id.
func (c *Client) Send(ctx context.Context, roomID, typ, txnID string, content J) (string, error) {
	answer, err := c.Do(ctx, http.MethodPut, Path("rooms", roomID, "send", typ, txnID), content)
	return answer.Get("event_id").Str, err
}

// SetState sends a state event and gives its id.
func (c *Client) SetState(ctx context.Context, roomID, typ, stateKey string, content J) (string, error) {
	answer, err := c.Do(ctx, http.MethodPut, Path("rooms", roomID, "state", typ, stateKey), content)
	return answer.Get("event_id").Str, err
}

// Redact redacts an event and gives the redaction's id.
func (c *Client) Redact(ctx context.Context, roomID, eventID, txnID string) (string, error) {
	answer, err := c.Do(ctx, http.MethodPut, Path("rooms", roomID, "redact", eventID, txnID), J{})
	return answer.Get("event_id").Str, err
}

// Sync syncs. Since and filter may be empty; timeoutMS is how long the server may wait for news, in milliseconds.
func (c *Client) Sync(ctx context.Context, since, filter string, timeoutMS int) (gjson.Result, error) {
	q := url.Values{"timeout": {strconv.Itoa(timeoutMS)}}
	if since != "" {
		q.Set("since", since)
	}
	if filter != "" {
		q.Set("filter", filter)
	}
	return c.Do(ctx, http.MethodGet, "/sync?"+q.Encode(), nil)
}

// Messages gives one page of a room's history; dir is b or f, and an empty from is the end or the beginning.
func (c *Client) Messages(ctx context.Context, roomID, from, dir string, limit int) (gjson.Result, error) {
	q := url.Values{"dir": {dir}, "limit": {strconv.Itoa(limit)}}
	if from != "" {
		q.Set("from", from)
	}
	return c.Do(ctx, http.MethodGet, Path("rooms", roomID, "messages")+"?"+q.Encode(), nil)
}

// Back pages back from a token, or from the end, until known says that an event need not be fetched, or to the beginning
// of the room. It gives the events in the order of the room, and whether a known one ended it.
func (c *Client) Back(ctx context.Context, roomID, from string, limit int, known func(eventID string) bool) (events []gjson.Result, joined bool, err error) {
	defer func() {
		for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
			events[i], events[j] = events[j], events[i]
		}
	}()
	for {
		page, err := c.Messages(ctx, roomID, from, "b", limit)
		if err != nil {
			return nil, false, err
		}
		for _, e := range page.Get("chunk").Array() {
			if known(e.Get("event_id").Str) {
				return events, true, nil
			}
			events = append(events, e)
		}
		if from = page.Get("end").Str; from == "" {
			return events, false, nil
		}
	}
}

// Path is a path made of parts, each escaped.
func Path(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	return b.String()
}
