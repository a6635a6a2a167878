package console

import "github.com/matrixon/matrixon/http/admin"

func (c *console) destinations(v *view) (string, any, error) {
	page, err := c.Operator.Destinations(v.Ctx, admin.Page{From: v.Param("from"), Match: v.Param("match")})
	return "Other servers", page, err
}

func (c *console) destination(v *view) (string, any, error) {
	d, err := c.Operator.Destination(v.Ctx, v.Vars["destination"])
	return v.Vars["destination"], d, err
}

// operateDestination is one of the buttons of a server.
func (c *console) operateDestination(v *view) (outcome, error) {
	name, what := v.Vars["destination"], v.Vars["action"]
	if _, err := c.Operator.OperateDestination(v.Ctx, v.by(), name, what); err != nil {
		return outcome{}, err
	}
	return outcome{notice: name + ": " + map[string]string{"retry": "what waits is sent now", "pause": "nothing is sent until it is tried again", "reset": "its failures are forgotten"}[what]}, nil
}
