"""Your data: which of my labels are wrong?"""

from app.components import page
from app.state.url_state import bound, get
from app.views.your_data import check_step, export_page, review_step, upload_step

STEPS = {  # key in the URL -> title, what the step shows
    "bring": ("1 Upload", upload_step.show),
    "check": ("2 Check", check_step.show),
    "review": ("3 Review", review_step.show),
    "take": ("4 Export", export_page.show),
}


def main() -> None:
    page.head(
        "Which of my labels are wrong?",
        "Upload images or a table: MixNN trains on them, finds labels that look wrong, and you "
        "decide. A few hundred clicks can clean a data set of thousands.",
        "noisy labels",
        "given label",
        "soft label",
        "P(clean)",
        "label quality",
        "neighbors",
    )
    default = "check" if get("upload") else "review" if get("run") else "bring"
    step = get("step") or default
    titles = {key: title for key, (title, _) in STEPS.items()}
    page.switch("Step", titles, **bound("step", step))
    STEPS[step][1]()


main()
