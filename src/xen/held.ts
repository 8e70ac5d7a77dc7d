/** Codes of faults that pass: dom0 still holds what was read a moment ago, or a transfer is ending. */
export const HELD = ["VDI_IN_USE", "OTHER_OPERATION_IN_PROGRESS", "SR_BACKEND_FAILURE_24", "DEVICE_ALREADY_ATTACHED"];
