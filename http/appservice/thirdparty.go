package appservice

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// lookupTimeout bounds how long application services may take over one lookup. Who has not answered by then has found nothing.
const lookupTimeout = 10 * time.Second

const thirdParty = "/thirdparty"

// everywhere asks the application services for which choose is true, and gives their good answers in the order of the configuration.
func (s *Services) everywhere(ctx context.Context, choose func(*appservice.Registration) bool, c Call) []found {
	c.Method, c.Legacy = http.MethodGet, "/_matrix/app/unstable"+c.Path
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var asked []*appservice.Registration
	for _, r := range s.Set().All() {
		if r.URL != "" && choose(r) {
			asked = append(asked, r)
		}
	}
	answers := make([]found, len(asked))
	var all sync.WaitGroup
	for i, r := range asked {
		all.Go(func() {
			if s.slots.Acquire(ctx, 1) != nil {
				return
			}
			defer s.slots.Release(1)
			answer, err := s.Link.Do(ctx, r, c)
			switch {
			case err != nil:
				s.Log.Warn("an application service did not answer a lookup", "appservice", r.ID, "error", err)
			case answer.Status == http.StatusOK && jsontext.Value(answer.Body).IsValid():
				answers[i] = found{r, answer.Body}
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(answers, func(f found) bool { return f.service == nil })
}

// found is the answer of one application service: valid JSON.
type found struct {
	service *appservice.Registration
	body    jsontext.Value
}

func speaks(protocol string) func(*appservice.Registration) bool {
	return func(r *appservice.Registration) bool { return slices.Contains(r.Protocols, protocol) }
}

// protocols tells of all networks that are bridged here.
func (s *Services) protocols(r *api.Request) (any, error) {
	names := map[string]bool{}
	for _, service := range s.Set().All() {
		for _, name := range service.Protocols {
			names[name] = true
		}
	}
	answer := map[string]jsontext.Value{}
	for name := range names {
		described, err := s.describe(r.Ctx, name)
		if err != nil {
			return nil, err
		}
		if described != nil {
			answer[name] = described
		}
	}
	return answer, nil
}

func (s *Services) protocol(r *api.Request) (any, error) {
	described, err := s.describe(r.Ctx, r.Vars["protocol"])
	if err == nil && described == nil {
		err = unknownProtocol(r.Vars["protocol"])
	}
	return described, err
}

func unknownProtocol(name string) error {
	return mxerr.NotFound("no application service here bridges %.255q", name)
}

// describe gives what the application services say of a network: the instances of all, and the rest of the first. nil: nobody knows it.
func (s *Services) describe(ctx context.Context, protocol string) (jsontext.Value, error) {
	var described map[string]jsontext.Value
	instances := []map[string]jsontext.Value{}
	for _, f := range s.everywhere(ctx, speaks(protocol), Call{Path: thirdParty + "/protocol/", ID: protocol}) {
		var one map[string]jsontext.Value
		if json.Unmarshal(f.body, &one) != nil {
			continue
		}
		var its []map[string]jsontext.Value
		if len(one["instances"]) > 0 && json.Unmarshal(one["instances"], &its) != nil {
			continue
		}
		for _, instance := range its {
			raw, err := json.Marshal(InstanceID(f.service.ID, gjson.ParseBytes(instance["network_id"]).String()))
			if err != nil {
				continue
			}
			instance["instance_id"] = raw
			instances = append(instances, instance)
		}
		if described == nil {
			described = one
		}
	}
	if described == nil {
		return nil, nil
	}
	raw, err := json.Marshal(instances)
	if err != nil {
		return nil, err
	}
	described["instances"] = raw
	return json.Marshal(described)
}

// InstanceID names a network of an application service among all of the server, as third_party_instance_id does.
func InstanceID(service, networkID string) string { return service + "|" + networkID }

func (s *Services) locationsOf(r *api.Request) (any, error) { return s.lookUp(r, "/location/") }
func (s *Services) usersOf(r *api.Request) (any, error)     { return s.lookUp(r, "/user/") }

// lookUp has the fields of the query looked up in a network.
func (s *Services) lookUp(r *api.Request, path string) (any, error) {
	protocol := r.Vars["protocol"]
	if !slices.ContainsFunc(s.Set().All(), speaks(protocol)) {
		return nil, unknownProtocol(protocol)
	}
	results := joined(s.everywhere(r.Ctx, speaks(protocol), Call{Path: thirdParty + path, ID: protocol, Query: fields(r.Query())}))
	if len(results) == 0 {
		return nil, mxerr.NotFound("nothing was found in %.255s", protocol)
	}
	return results, nil
}

// fields are what is asked for, without who asks.
func fields(q url.Values) url.Values {
	kept := url.Values{}
	for name, values := range q {
		switch name {
		case "access_token", "user_id", "device_id", "org.matrix.msc3202.device_id":
		default:
			kept[name] = values
		}
	}
	return kept
}

func (s *Services) locations(r *api.Request) (any, error) {
	alias, err := r.Need("alias")
	if err != nil {
		return nil, err
	}
	return s.behind(r, "/location", url.Values{"alias": {alias}})
}

func (s *Services) users(r *api.Request) (any, error) {
	userID, err := r.Need("userid")
	if err != nil {
		return nil, err
	}
	return s.behind(r, "/user", url.Values{"userid": {userID}})
}

// behind finds what of third-party networks stands behind something of Matrix.
func (s *Services) behind(r *api.Request, path string, query url.Values) (any, error) {
	results := joined(s.everywhere(r.Ctx, func(r *appservice.Registration) bool { return len(r.Protocols) > 0 }, Call{Path: thirdParty + path, Query: query}))
	if len(results) == 0 {
		return nil, mxerr.NotFound("nothing is known of it in any third-party network")
	}
	return results, nil
}

// joined puts lists of results together.
func joined(answers []found) []jsontext.Value {
	all := []jsontext.Value{}
	for _, f := range answers {
		var results []jsontext.Value
		if json.Unmarshal(f.body, &results) == nil {
			all = append(all, results...)
		}
	}
	return all
}
