"""Ten questions before and after the lesson, for students who know nothing of noisy labels."""

from dataclasses import dataclass

UNKNOWN = "?"  # the answer "I do not know"


@dataclass(frozen=True)
class Question:
    """A question with four answers. right: the number of the right one; transfer: whether it asks
    about something that the lesson does not show."""

    topic: str
    text: str
    options: tuple[str, str, str, str]
    right: int
    transfer: bool = False

    def words_of(self, answer: str) -> str:
        """A stored answer in words; one of an earlier version is unchanged."""
        number = int(answer) if answer.isdigit() else len(self.options)
        if number < len(self.options):
            return self.options[number]
        return "I do not know" if answer == UNKNOWN else answer

    def is_right(self, answer: str) -> bool:
        return answer == str(self.right)


QUESTIONS = (
    Question(
        "Memorizing",
        "In a collection of photos, every third label is wrong. A large network trains on it for a "
        "very long time, until it makes no mistakes on these labels. What has it done?",
        (
            "It has found the wrong labels and left them out",
            "It has replaced the wrong labels by the right ones",
            "It has memorized the wrong labels",
            "That cannot happen: wrong labels cannot be learned",
        ),
        2,
    ),
    Question(
        "What is learned first",
        "The same network has only just begun to train. Which labels does it get right first?",
        (
            "The labels that agree with those of many similar photos",
            "The labels that it was shown first",
            "The wrong labels, because they stand out",
            "Right and wrong labels, equally fast",
        ),
        0,
    ),
    Question(
        "A surprising label",
        "The loss of a photo is large if its label surprises the network. After a short training "
        "one photo has a far larger loss than all others. What is the most sensible thing to do?",
        (
            "Train longer, until its loss is as small as the others",
            "Delete it: a large loss proves that the label is wrong",
            "Nothing: the loss says something about the network only",
            "Look at it: its label may be wrong, or the photo unusual",
        ),
        3,
    ),
    Question(
        "Two overlapping groups",
        "Measured values form two heaps, one around 1 and one around 5, which are equally large "
        "and equally wide and overlap a little. One value is exactly 3. To which heap does it "
        "belong?",
        (
            "To the left one, because small values are more common",
            "Either is equally probable: the value alone does not decide",
            "To neither: it is a measuring error",
            "To the right one, because 3 is nearer to 5 than to 0",
        ),
        1,
    ),
    Question(
        "Neighbors",
        "A photo of a cat is labeled “dog”. The five photos that the network finds most similar to "
        "it are labeled cat, cat, dog, cat, cat. What does that tell you?",
        (
            "The label is probably wrong, although the neighbors' labels may be wrong as well",
            "The label is right, because one neighbor agrees with it",
            "Nothing: a label depends on its own photo alone",
            "The network has to be trained again, as the neighbors disagree",
        ),
        0,
    ),
    Question(
        "Averaging labels",
        "A photo labeled “dog” is averaged with its neighbors, which are all labeled “cat”. "
        "The photo itself gets 10 % of the weight, its neighbors share the rest. What is the new "
        "label?",
        (
            "“Dog”: the photo's own label counts",
            "“Cat” for sure: the majority decides",
            "10 % dog and 90 % cat",
            "50 % dog and 50 % cat",
        ),
        2,
    ),
    Question(
        "Small steps",
        "A program corrects labels by itself: each round, it moves every label a little toward "
        "what the network thinks, instead of replacing it at once. What is the advantage?",
        (
            "It needs less computing time",
            "A single wrong guess of the network does little harm",
            "The labels stay as they were given",
            "The network's guesses no longer matter",
        ),
        1,
    ),
    Question(
        "How good is it?",
        "A company advertises: “Our program gives the right answer for 100 % of the examples with "
        "which it was trained.” Some of the labels of these examples are wrong. What follows?",
        (
            "It is excellent: it makes no mistakes",
            "It has recognized the wrong labels",
            "It is useless: nothing can be learned from wrong labels",
            "Little: only new examples with right labels show how good it is",
        ),
        3,
        transfer=True,
    ),
    Question(
        "Rare cases",
        "A hospital cleans its X-ray images: every image whose label surprises the network is "
        "removed. Later the network misses a rare disease. What has probably happened?",
        (
            "Images of the rare disease were removed, although their labels were right",
            "The network was trained for too long",
            "Too few images were removed",
            "Rare diseases cannot be seen in X-ray images",
        ),
        0,
        transfer=True,
    ),
    Question(
        "The same mistake everywhere",
        "People label photos of animals and take most huskies for wolves, all in the same way. Now "
        "each label is checked by a vote of the most similar photos. Does this help?",
        (
            "Yes: a vote finds every wrong label",
            "Yes, if more similar photos vote",
            "Hardly: the similar photos have the same wrong label",
            "No: huskies and wolves have no similar photos",
        ),
        2,
        transfer=True,
    ),
)
