package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// admin asks a node over its administration socket.
func (s *server) admin(ctx context.Context, node int, path string) (*http.Response, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.data[node], "admin.sock"))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%s: %s: %s (%w)", path, resp.Status, raw, err)
	}
	return resp, nil
}

// home is the number of the node on which a room that is active lives.
func (s *server) home(ctx context.Context, roomID string) (int, error) {
	resp, err := s.admin(ctx, 0, "/_matrixon/admin/v1/actors?kind=room&match="+url.QueryEscape(roomID))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Actors []struct {
			Node string `json:"node"`
		} `json:"actors"`
	}
	if err := json.UnmarshalRead(resp.Body, &answer); err != nil {
		return 0, err
	}
	if len(answer.Actors) != 1 {
		return 0, fmt.Errorf("%s lives at %d nodes", roomID, len(answer.Actors))
	}
	n, err := strconv.Atoi(strings.TrimPrefix(answer.Actors[0].Node, "node-"))
	if err != nil || n < 1 || n > len(s.urls) {
		return 0, fmt.Errorf("%s lives at %q", roomID, answer.Actors[0].Node)
	}
	return n - 1, nil
}

// place has the client speak to the node that the room lives on, or to another.
func (c *client) place(ctx context.Context, at, roomID string) error {
	if at == "any" {
		return nil
	}
	home, err := c.server.home(ctx, roomID)
	if err != nil {
		return err
	}
	if at == "other" {
		home++
	}
	c.url = c.server.urls[home%len(c.server.urls)]
	return nil
}

// spread counts how rooms share themselves out over the nodes.
func spread(ctx context.Context, o *options, s *server) error {
	const owners = 20
	if len(s.urls) < 2 {
		fmt.Println("takes several nodes: --nodes 3")
		return nil
	}
	users, err := registerMany(ctx, s, owners)
	if err != nil {
		return err
	}
	used, err := s.measured(func() error {
		return parallel(ctx, o.Spread, func(ctx context.Context, i int) error {
			_, err := users[i%owners].createRoom(ctx)
			return err
		})
	})
	if err != nil {
		return err
	}
	most := 0.0
	for i, url := range s.urls {
		values, err := s.metrics(url)
		if err != nil {
			return err
		}
		of := values[`matrixon_actor_activations_total{kind="room"}`]
		most = max(most, of)
		report(fmt.Sprintf("node-%d", i+1), "%.0f rooms, %.1f s CPU", of, values["process_cpu_seconds_total"])
	}
	report(fmt.Sprintf("the most of %d rooms", o.Spread), "%.3f of the mean", most*float64(len(s.urls))/float64(o.Spread))
	used.each(o.Spread)
	return nil
}
