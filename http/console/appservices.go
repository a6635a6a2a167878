package console

import "github.com/matrixon/matrixon/http/admin"

func (c *console) appservices(v *view) (string, any, error) {
	all, err := c.Operator.Appservices(v.Ctx)
	return "Application services", all, err
}

// appserviceShown is one application service.
type appserviceShown struct {
	admin.Appservice
	Namespaces []namespacesShown
}

// namespacesShown are those of one kind.
type namespacesShown struct {
	Name string
	All  []admin.Namespace
}

func (c *console) appservice(v *view) (string, any, error) {
	a, err := c.Operator.Appservice(v.Ctx, v.Vars["appservice"])
	page := appserviceShown{Appservice: a, Namespaces: []namespacesShown{{"Users", a.Users}, {"Aliases", a.Aliases}, {"Rooms", a.Rooms}}}
	return v.Vars["appservice"], page, err
}

// retry has what waits for an application service sent now.
func (c *console) retry(v *view) (outcome, error) {
	id := v.Vars["appservice"]
	if err := c.Operator.RetryAppservice(v.Ctx, v.by(), id); err != nil {
		return outcome{}, err
	}
	return outcome{notice: id + " is tried again"}, nil
}
