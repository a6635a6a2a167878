package browser

import (
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/client"
)

// AuthDone tells the app that a stage is done (client-server API, "Fallback").
const AuthDone = `if (window.onAuthDone) { window.onAuthDone(); } else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }`

// stageForm is what the page of a stage shows.
type stageForm struct {
	Self, Stage, Session, User string
	Terms                      []client.Document
}

// Fallbacks are the pages on which people complete the stages of user-interactive authentication that their app does not know.
func (p *Pages) Fallbacks(engine *uia.Engine) []api.Endpoint {
	const path = "/_matrix/client/v3/auth/{authType}/fallback/web"
	show, take := p.Page(get, path, func(v *View) (any, error) {
		session, err := v.Need("session")
		if err != nil {
			return nil, err
		}
		return p.showStage(v, engine, session, http.StatusOK, "")
	}), p.Page(post, path, func(v *View) (any, error) { return p.completeStage(v, engine) })
	for _, e := range []*api.Endpoint{&show, &take} {
		e.Also = []string{strings.Replace(path, "/v3/", "/r0/", 1)}
	}
	return []api.Endpoint{show, take}
}

func (p *Pages) showStage(v *View, engine *uia.Engine, session string, status int, problem string) (any, error) {
	userID, err := engine.Pending(v.Request, session, v.Vars["authType"])
	if err != nil {
		return nil, err
	}
	return p.Render(status, "stage", Shown{Title: "One more step", Error: problem, Data: stageForm{Self: v.HTTP.URL.EscapedPath(), Stage: v.Vars["authType"],
		Session: session, User: userID, Terms: p.o.Registrar.Rules().Documents}})
}

func (p *Pages) completeStage(v *View, engine *uia.Engine) (any, error) {
	if err := v.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	session := v.Form.Get("session")
	err := engine.CompleteInBrowser(v.Request, session, v.Vars["authType"], uia.Given{Password: v.Form.Get("password"), Token: strings.TrimSpace(v.Form.Get("token"))})
	if refused := Refusal(err); refused != nil && refused.Status != http.StatusNotFound {
		return p.showStage(v, engine, session, refused.Status, sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "message", Shown{Title: "Thank you", Data: "Go back to your app; you can close this page.", Script: AuthDone})
}
