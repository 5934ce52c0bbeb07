/// Why a picture is indeterminate; all but `uncertain` leave it without a probability. Raw values are the same in every port.
public enum Reason: String, CaseIterable, Sendable {
    case noLesion = "no_lesion"
    case lesionUncertain = "lesion_uncertain"
    case lesionTooSmall = "lesion_too_small"
    case lesionFillsFrame = "lesion_fills_frame"
    case pictureTooSmall = "picture_too_small"
    case blank
    case uniform
    case tooDark = "too_dark"
    case overexposed
    case blurred
    case notDermoscopy = "not_dermoscopy"
    case uncertain
}
