package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/matrixon/matrixon/http/admin"
)

// kept gives the parameters of the page that are not empty.
func (v *visit) kept(names ...string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if value := v.r.Form.Get(name); value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// nodesData is the page of the nodes.
type nodesData struct {
	Nodes []admin.Status
	Alone bool
}

// planData is what rebalancing would do, or did.
type planData struct {
	Moves []admin.Move
	Done  bool
}

func (v *visit) nodesData() (nodesData, error) {
	var c admin.Cluster
	err := v.get(&c, "/cluster", nil)
	return nodesData{Nodes: c.Nodes, Alone: len(c.Nodes) < 2}, err
}

func (v *visit) nodes() error {
	data, err := v.nodesData()
	if err != nil {
		return err
	}
	return v.show("nodes", data)
}

func (v *visit) drain() error {
	name, draining := v.r.PostForm.Get("node"), v.r.PostForm.Get("draining")
	if err := v.post(nil, "/cluster/"+url.PathEscape(name)+"/drain", url.Values{"draining": {draining}}, nil); err != nil {
		return err
	}
	return v.nodes()
}

// rebalance shows the plan first, and carries one out when that was asked for.
func (v *visit) rebalance() error {
	var moves admin.Moves
	dry := v.r.PostForm.Get("dry_run")
	if err := v.post(&moves, "/cluster/rebalance", url.Values{"dry_run": {dry}}, nil); err != nil {
		return err
	}
	return v.show("plan", planData{moves.Moves, dry != "true"})
}

type actorsData struct {
	admin.Actors
	Nodes []string
}

func (v *visit) actors() error {
	data := actorsData{}
	q := v.kept("kind", "node", "match", "sort")
	q.Set("limit", "100")
	if err := v.get(&data.Actors, "/actors", q); err != nil {
		return err
	}
	nodes, err := v.nodesData()
	for _, n := range nodes.Nodes {
		data.Nodes = append(data.Nodes, n.Node)
	}
	if err != nil {
		return err
	}
	return v.show("actors", data)
}

type actorData struct {
	admin.Summary
	AtRest bool
	Nodes  []string
}

// actorPath is where the API has the actor that the page is about.
func (v *visit) actorPath() string {
	return "/actors/" + url.PathEscape(v.r.Form.Get("kind")) + "/" + url.PathEscape(v.r.Form.Get("id"))
}

func (v *visit) actor() error {
	data := actorData{}
	err := v.get(&data.Summary, v.actorPath(), nil)
	if isStatus(err, http.StatusNotFound) {
		data.AtRest, data.Kind, data.ID, err = true, v.r.Form.Get("kind"), v.r.Form.Get("id"), nil
	}
	if err != nil {
		return err
	}
	nodes, err := v.nodesData()
	for _, n := range nodes.Nodes {
		data.Nodes = append(data.Nodes, n.Node)
	}
	if err != nil {
		return err
	}
	return v.show("actor", data)
}

func (v *visit) move() error {
	if err := v.post(nil, v.actorPath()+"/move", v.kept("to"), nil); err != nil {
		return err
	}
	return v.actor()
}

func (v *visit) stop() error {
	if err := v.post(nil, v.actorPath()+"/stop", nil, nil); err != nil {
		return err
	}
	return v.actor()
}

func (v *visit) rooms() error {
	var data admin.Rooms
	if err := v.get(&data, "/rooms", v.kept("match", "from")); err != nil {
		return err
	}
	return v.show("rooms", data)
}

type roomData struct {
	admin.RoomNow
	Members admin.Members
}

func (v *visit) room() error {
	var data roomData
	path := "/rooms/" + url.PathEscape(v.r.Form.Get("id"))
	if err := v.get(&data.RoomNow, path, nil); err != nil {
		return err
	}
	if err := v.get(&data.Members, path+"/members", v.kept("from", "membership")); err != nil {
		return err
	}
	return v.show("room", data)
}

func (v *visit) users() error {
	var data admin.Users
	if err := v.get(&data, "/users", v.kept("match", "from")); err != nil {
		return err
	}
	return v.show("users", data)
}

// changeUser changes one thing about an account: the button's name is the field, its value what becomes of it.
func (v *visit) changeUser() error {
	yes := v.r.PostForm.Get("value") == "true"
	var c admin.Change
	switch v.r.PostForm.Get("change") {
	case "admin":
		c.Admin = &yes
	case "locked":
		c.Locked = &yes
	case "suspended":
		c.Suspended = &yes
	case "deactivate":
		c.Deactivate = true
	}
	if err := v.post(nil, "/users/"+url.PathEscape(strings.TrimSpace(v.r.PostForm.Get("user"))), nil, c); err != nil {
		return err
	}
	return v.users()
}
