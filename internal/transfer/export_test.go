package transfer

// DueTimes is dueTimes, for tests.
var DueTimes = dueTimes
