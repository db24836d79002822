package keymaterial

import "hubbub/mimi"

// Fits says whether a bare KeyPackage is what a requester can use, for those who
// supply it from elsewhere than our stock.
func Fits(req *mimi.KeyMaterialRequest, keyPackage []byte) bool { return fits(req, keyPackage) }
