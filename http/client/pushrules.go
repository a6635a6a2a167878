package client

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/messages"
)

func (a *accounts) pushRules() []api.Endpoint {
	const all = "/_matrix/client/v3/pushrules"
	const rule = all + "/global/{kind}/{ruleId}"
	reading := func(path string, h api.Handler) api.Endpoint {
		return api.Endpoint{Methods: get, Path: path, R0: true, Auth: api.User, Handler: h}
	}
	changing := func(methods []string, path string, h api.Handler) api.Endpoint {
		return api.Endpoint{Methods: methods, Path: path, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: h}
	}
	return []api.Endpoint{
		// The specification writes a slash at the end; clients leave it out.
		reading(all+"/", a.getPushRules),
		reading(all, a.getPushRules),
		reading(all+"/global/", a.getGlobalPushRules),
		reading(all+"/global", a.getGlobalPushRules),
		reading(rule, a.getPushRule),
		changing(put, rule, a.putPushRule),
		changing(remove, rule, a.deletePushRule),
		reading(rule+"/enabled", a.getPushRuleEnabled),
		changing(put, rule+"/enabled", a.putPushRuleEnabled),
		reading(rule+"/actions", a.getPushRuleActions),
		changing(put, rule+"/actions", a.putPushRuleActions),
	}
}

func (a *accounts) getPushRules(r *api.Request) (any, error) {
	rules, err := account.PushRules(r.Ctx, a.Store, r.User())
	if err != nil {
		return nil, err
	}
	raw, err := rules.JSON()
	return jsontext.Value(raw), err
}

func (a *accounts) getGlobalPushRules(r *api.Request) (any, error) {
	return account.PushRules(r.Ctx, a.Store, r.User())
}

func (a *accounts) rule(r *api.Request) (pushrules.Rule, error) {
	rules, err := account.PushRules(r.Ctx, a.Store, r.User())
	if err != nil {
		return pushrules.Rule{}, err
	}
	return rules.Rule(r.Vars["kind"], r.Vars["ruleId"])
}

func (a *accounts) getPushRule(r *api.Request) (any, error) {
	rule, err := a.rule(r)
	return rule, err
}

func (a *accounts) getPushRuleEnabled(r *api.Request) (any, error) {
	rule, err := a.rule(r)
	return map[string]bool{"enabled": rule.Enabled}, err
}

func (a *accounts) getPushRuleActions(r *api.Request) (any, error) {
	rule, err := a.rule(r)
	return map[string][]jsontext.Value{"actions": slices.Clip(rule.Actions)}, err
}

func (a *accounts) putPushRule(r *api.Request) (any, error) {
	body, err := r.Object()
	if err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.PutPushRule{
		Kind: r.Vars["kind"], RuleId: r.Vars["ruleId"], Rule: body, Before: r.Param("before"), After: r.Param("after"),
	})
}

func (a *accounts) deletePushRule(r *api.Request) (any, error) {
	return nil, a.ask(r, r.User(), &messages.DeletePushRule{Kind: r.Vars["kind"], RuleId: r.Vars["ruleId"]})
}

func (a *accounts) putPushRuleEnabled(r *api.Request) (any, error) {
	var q struct {
		Enabled *bool `json:"enabled"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Enabled == nil {
		return nil, mxerr.MissingParam("enabled is required")
	}
	return nil, a.ask(r, r.User(), &messages.ChangePushRule{Kind: r.Vars["kind"], RuleId: r.Vars["ruleId"], Enabled: q.Enabled})
}

func (a *accounts) putPushRuleActions(r *api.Request) (any, error) {
	var q struct {
		Actions jsontext.Value `json:"actions"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if len(q.Actions) == 0 {
		return nil, mxerr.MissingParam("actions is required")
	}
	return nil, a.ask(r, r.User(), &messages.ChangePushRule{Kind: r.Vars["kind"], RuleId: r.Vars["ruleId"], Actions: q.Actions})
}
