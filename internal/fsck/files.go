package fsck

import (
	"context"
	"fmt"

	"hubbub/internal/asset"
	"hubbub/internal/store"
)

// files compares what is stored of attachments with the files themselves: that they are
// there, as long as they should be, and known. What is in them only their readers can
// judge, who have the hash.
func (c *check) files(ctx context.Context) {
	if c.cfg.Files == "" {
		return
	}
	err := c.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		return asset.Check(tx, c.cfg.Files, func(id, wrong string) {
			c.found(Finding{What: "attachment", Wrong: fmt.Sprintf("%s: %s", id, wrong)})
		})
	})
	if err != nil {
		c.found(Finding{What: "attachments", Wrong: err.Error()})
	}
}
