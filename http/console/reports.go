package console

import (
	"net/url"

	"github.com/matrixon/matrixon/http/admin"
)

// reportsShown is a page of reports.
type reportsShown struct {
	admin.Reports
	Match string
	More  string // the address of the next page
}

func (c *console) reports(v *view) (string, any, error) {
	p := v.part()
	found, err := c.Operator.Reports(v.Ctx, p)
	return "Reports", reportsShown{Reports: found, Match: p.Match, More: following(Base+"/reports", found.Next, url.Values{"match": {p.Match}})}, err
}

// closeReport leaves nothing in the place of the report.
func (c *console) closeReport(v *view) (outcome, error) {
	if err := c.Operator.CloseReport(v.Ctx, v.by(), v.Vars["report"]); err != nil {
		return outcome{}, err
	}
	return outcome{notice: "The report is closed", page: "reports", block: "closed"}, nil
}
