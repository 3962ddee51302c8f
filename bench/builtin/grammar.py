# ruff: noqa: E501  (one concept is one line)
"""Survey questions that the teaching model learns to write and to answer.

Every topic has frames (a question with its answers) and concepts that fill them. A concept names
the survey item whose country differences it borrows, so that a new question has plausible answers
for every country. Concepts borrow only from items that training may use freely, never from the
held-out ones (`targets.HELD_OUT`).
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import NamedTuple

from core.survey.survey import Culture, Item, Option

# Answers, each list from most to least.
IMPORTANCE = (
    ("Very important", "Rather important", "Not very important", "Not at all important"),
    ("Extremely important", "Important", "Slightly important", "Not important"),
    ("Essential", "Important", "Of some importance", "Of little importance", "Unimportant"),
)
AGREE = (
    ("Strongly agree", "Agree", "Disagree", "Strongly disagree"),
    ("Strongly agree", "Agree", "Neither agree nor disagree", "Disagree", "Strongly disagree"),
    ("Agree", "Hard to say", "Disagree"),
    ("Yes", "No"),
)
TRUST = (
    ("A great deal", "Quite a lot", "Not very much", "None at all"),
    ("Complete trust", "Some trust", "Little trust", "No trust"),
)
JUSTIFY = (
    ("Always", "Often", "Sometimes", "Rarely", "Never"),
    ("Always justifiable", "Sometimes justifiable", "Never justifiable"),
    ("Fully acceptable", "Mostly acceptable", "Mostly unacceptable", "Completely unacceptable"),
)
OFTEN = (
    ("Very often", "Fairly often", "Not often", "Not at all often"),
    ("Daily", "Weekly", "Monthly", "Less than monthly", "Never"),
    ("Often", "Sometimes", "Rarely", "Never"),
)
WORRY = (
    ("Very much", "A good deal", "Not much", "Not at all"),
    ("Very worried", "Somewhat worried", "A little worried", "Not worried"),
)
SHOULD = (
    ("Definitely should", "Probably should", "Probably should not", "Definitely should not"),
    ("Yes, always", "Yes, in some cases", "No, never"),
)
DONE = (
    ("Have done it", "Might do it", "Would never do it"),
    ("Yes, often", "Yes, once or twice", "No, but I might", "No, never"),
)
GOOD = (
    ("Very good", "Fairly good", "Fairly bad", "Very bad"),
    ("Good", "I would not mind", "Bad"),
)
HAPPY = (
    ("Very satisfied", "Fairly satisfied", "Not very satisfied", "Not at all satisfied"),
    ("Completely satisfied", "Satisfied", "Neither", "Dissatisfied", "Completely dissatisfied"),
)
MANY = (
    ("All of them", "Most of them", "Few of them", "None of them"),
    ("Nearly everyone", "More than half", "Less than half", "Hardly anyone"),
)
SAFE = (("Very safe", "Quite safe", "Not very safe", "Not at all safe"),)
CLOSE = (("Very close", "Close", "Not very close", "Not close at all"),)

# kind -> (question texts, answer lists, ends of a ten-point scale: least, most)
FRAMES: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, str]]] = {
    "importance": (
        (
            "How important is {x} to you{m}?",
            "How much does {x} matter to you{m}?",
            "How important should {x} be{m}?",
            "Thinking of your own life, how important is {x}{m}?",
        ),
        IMPORTANCE,
        ("not at all important", "very important"),
    ),
    "agree": (
        (
            "Do you agree or disagree that {x}{m}?",
            "How far do you agree that {x}{m}?",
            "Some people say that {x}{m}. Do you agree or disagree?",
            "Would you say that {x}{m}?",
        ),
        AGREE,
        ("completely disagree", "completely agree"),
    ),
    "trust": (
        (
            "How much confidence do you have in {x}{m}?",
            "How far do you trust {x}{m}?",
            "How much trust do people like you place in {x}{m}?",
        ),
        TRUST,
        ("no trust at all", "complete trust"),
    ),
    "justify": (
        (
            "Can it be justified to {x}{m}?",
            "Do you think it is ever acceptable to {x}{m}?",
            "How acceptable is it to {x}{m}?",
        ),
        JUSTIFY,
        ("never justifiable", "always justifiable"),
    ),
    "often": (
        ("How often do you {x}{m}?", "In the past year, how often did you {x}{m}?"),
        OFTEN,
        ("never", "very often"),
    ),
    "happens": (
        (
            "In the area where you live, how often do {x}{m}?",
            "In your country, how often do {x}{m}?",
            "As far as you know, how often do {x}{m}?",
        ),
        (OFTEN[0], OFTEN[2]),
        ("never", "very often"),
    ),
    "worry": (
        (
            "How much does {x} worry you{m}?",
            "How worried are you about {x}{m}?",
            "When you think of the future, how much do you worry about {x}{m}?",
        ),
        WORRY,
        ("not worried at all", "very worried"),
    ),
    "should": (
        (
            "Should the government {x}{m}?",
            "Do you think that your country should {x}{m}?",
            "Should the authorities be allowed to {x}{m}?",
        ),
        SHOULD,
        ("definitely should not", "definitely should"),
    ),
    "done": (
        (
            "Have you ever {x}{m}, or might you do so one day?",
            "Have you {x}{m}, might you do it, or would you never do it?",
        ),
        DONE,
        ("would never do it", "have done it often"),
    ),
    "good": (
        (
            "Would it be good or bad if {x}{m}?",
            "How good or bad would it be for your country if {x}{m}?",
        ),
        GOOD,
        ("very bad", "very good"),
    ),
    "satisfied": (
        (
            "How satisfied are you with {x}{m}?",
            "All in all, how satisfied do you feel with {x}{m}?",
        ),
        HAPPY,
        ("completely dissatisfied", "completely satisfied"),
    ),
    "many": (
        (
            "How many {x} do you think take part in corruption{m}?",
            "In your opinion, how many {x} accept favours or gifts for their services{m}?",
        ),
        MANY,
        ("none of them", "all of them"),
    ),
    "safe": (
        ("How safe do you feel {x}{m}?", "How safe is it for you to be {x}{m}?"),
        SAFE,
        ("not at all safe", "very safe"),
    ),
    "close": (
        ("How close do you feel to {x}{m}?", "How strong is your bond with {x}{m}?"),
        CLOSE,
        ("not close at all", "very close"),
    ),
}

MODIFIERS: dict[str, tuple[str, ...]] = {
    "importance": (
        "",
        "",
        " today",
        " at your age",
        " in everyday life",
        " compared with ten years ago",
    ),
    "agree": ("", "", "", " in today's world", " in most cases", " in your country"),
    "trust": ("", "", " these days", " in a crisis", " to tell the truth", " to act fairly"),
    "justify": ("", "", " when nobody is harmed", " in an emergency", " to help one's family"),
    "often": ("", "", " with your family", " on your own", " outside your home"),
    "happens": ("", "", " nowadays", " at the local level", " in large cities"),
    "worry": ("", "", " these days", " for your family", " in the coming years"),
    "should": ("", "", " without asking a court", " in times of crisis", " even if taxes rise"),
    "done": ("", "", " in the past five years", " together with friends", " at work"),
    "good": ("", "", " in the near future", " over the next ten years", " in rural areas"),
    "satisfied": (
        "",
        "",
        " these days",
        " compared with your parents",
        " at this stage of your life",
    ),
    "many": ("", "", " in your town", " in your country", " at the national level"),
    "safe": ("", "", " these days", " with children", " on your own"),
    "close": ("", "", " today", " when you are abroad"),
}


class Concept(NamedTuple):
    """A filling for a frame. `{a|b}` in the text is a choice.

    more: True where the first code of the item means more of what is asked.
    """

    kind: str
    text: str
    item_id: str
    more: bool


def _concepts(kind: str, block: str) -> list[Concept]:
    """Lines "text | +Q1": + where code 1 of the item means more of what is asked, else -."""
    rows = []
    for line in block.strip().splitlines():
        text, link = line.rsplit(" | ", 1)
        rows.append(Concept(kind, text.strip(), link.strip()[1:], link.strip()[0] == "+"))
    return rows


SOCIAL = "Social Values, Attitudes & Stereotypes"
HAPPINESS = "Happiness and Well-being"
CAPITAL = "Social Capital, Trust & Organizational Membership"
ECONOMY = "Economic Values"
CORRUPTION = "Corruption"
MIGRATION = "Migration"
SECURITY = "Security"
POSTMATERIALIST = "Postmaterialist Index"
SCIENCE = "Science & Technology"
RELIGION = "Religious Values"
ETHICS = "Ethical Values and Norms"
PARTICIPATION = "Political Interest & Political Participation"
REGIMES = "Political Culture & Political Regimes"

CONCEPTS: dict[str, list[Concept]] = {
    SOCIAL: [
        *_concepts(
            "importance",
            """
            spending {evenings|weekends|holidays} with your {family|children|grandparents} | +Q1
            keeping in touch with {old friends|school friends|neighbours} | +Q2
            having free time for {hobbies|sport|music|reading} | +Q3
            following {political debates|politics on television} | +Q4
            {having a steady job|doing your job well|being proud of your work} | +Q5
            {praying together|religious customs|religious holidays} at home | +Q6
            teaching children {to say thank you|to greet older people|table manners} | +Q7
            letting children {make their own choices|travel alone to school|disagree with adults} | +Q8
            teaching children {to work hard|to help at home|to finish their tasks} | +Q9
            teaching children {to save money|to mend things|to waste nothing} | +Q13
            teaching children {to obey their parents|to follow the rules|respect for elders} | +Q17
            teaching children {religious stories|prayers|the faith of their parents} | +Q15
            teaching children {to use their imagination|art and music|to ask questions} | +Q11
            """,
        ),
        *_concepts(
            "agree",
            """
            {a good child|a good son|a good daughter} makes the parents proud | +Q27
            {adults|sons|daughters} should support their {old parents|grandparents} with money | +Q38
            {grandparents|elderly parents} should live with their grown-up children | +Q38
            {a couple|every family} should have at least {one child|two children} | +Q37
            {people who live on benefits|people without work} become lazy | +Q39
            {everyone who is able|every healthy adult} owes it to society to have a job | +Q40
            {work|a career} should come before {leisure|friends|hobbies} | +Q41
            {a husband|a man} should earn more than his wife | +Q35
            two {women|men} can bring up a child as well as other couples | +Q36
            {local people|citizens} should be hired before {foreigners|newcomers} | +Q34
            {young people|pupils|students} should show more respect for {teachers|the police|elders} | +Q45
            """,
        ),
        *_concepts(
            "good",
            """
            {people worked fewer hours|work became less central|everyone worked part time} | +Q43
            {new technology|computers} played a larger part in {schools|homes|hospitals} | +Q44
            {children|people} respected {their teachers|authority|their bosses} more | +Q45
            """,
        ),
    ],
    HAPPINESS: [
        *_concepts(
            "satisfied",
            """
            {your life|your life so far|the way your life is going} | -Q49
            {your income|your savings|the money your household has} | -Q50
            {your health|your fitness|the state of your body} | +Q47
            {your home|your housing|the place where you live} | -Q49
            {your friendships|your marriage or relationship|your family life} | +Q46
            {the freedom you have|your control over your time|your choices in life} | -Q48
            {your standard of living|what you can afford} | -Q50
            {your sleep|your free time|your daily routine} | +Q46
            """,
        ),
        *_concepts(
            "often",
            """
            feel {truly happy|full of joy|cheerful} | +Q46
            feel {healthy and full of energy|well rested|physically fit} | +Q47
            feel that you {decide about your own life|can change your situation} | -Q48
            {laugh|have fun|celebrate} | +Q46
            manage to {save money|pay all your bills|buy what you want} | -Q50
            """,
        ),
        *_concepts(
            "agree",
            """
            {you|most people around you} are happy | +Q46
            {money|a good income} is needed for a happy life | +Q50
            {you|people like you} can shape {your own future|your own fate} | -Q48
            your {life|daily life} is close to what you wished for | -Q49
            your generation lives better than {your parents did|your grandparents did} | +Q56
            your health lets you {do what you like|enjoy life} | +Q47
            """,
        ),
    ],
    CAPITAL: [
        *_concepts(
            "trust",
            """
            {the local police|traffic police|police officers} | +Q69
            {judges|the courts|the justice system} | +Q70
            {the government|ministers|the head of government} | +Q71
            {political parties|party leaders} | +Q72
            {members of parliament|parliament} | +Q73
            {public officials|tax offices|local administrations} | +Q74
            {universities|professors|university research} | +Q75
            {large companies|international companies|online shops} | +Q77
            {banks|savings banks|insurance companies} | +Q78
            {newspapers|journalists|online news} | +Q66
            {television news|television presenters} | +Q67
            {trade unions|workers' organisations} | +Q68
            {churches and mosques|religious leaders} | +Q64
            {the army|soldiers|military leaders} | +Q65
            {environmental groups|nature protection groups} | +Q79
            {women's groups|women's organisations} | +Q80
            {charities|humanitarian helpers|relief organisations} | +Q81
            {the United Nations|international organisations} | +Q83
            {the World Bank|international lenders} | +Q87
            {the World Health Organization|health authorities} | +Q88
            """,
        ),
        *_concepts(
            "often",
            """
            take part in {the life of a church or mosque|religious meetings|religious charity} | -Q94
            go to {a sports club|a gym|team training} | -Q95
            go to {a choir|an art class|a music group|a book club} | -Q96
            help {a charity|people in need|an aid organisation} | -Q101
            meet {a self-help group|a mutual aid group} | -Q103
            """,
        ),
        *_concepts(
            "done",
            """
            joined {a sports club|a walking group} | -Q95
            joined {a trade union|a works council} | -Q97
            joined {a political party|a party's youth group} | -Q98
            joined {an environmental group|a group for animals} | -Q99
            volunteered for {a charity|the poor|refugees} | -Q101
            """,
        ),
    ],
    ECONOMY: [
        *_concepts(
            "agree",
            """
            {incomes|wages|pay} should be made more equal | +Q106
            {hard work|effort|talent} should be rewarded with {higher pay|more money} | -Q106
            {water companies|railways|banks|energy companies} should belong to the state | -Q107
            {large firms|airlines|mines|telephone companies} should be in private hands | +Q107
            the state should {provide for everyone|guarantee a basic income|pay for housing} | +Q108
            {people|families|the unemployed} should take more care of themselves | -Q108
            competition {makes people work hard|brings new ideas|improves products} | +Q109
            competition {brings out the worst in people|harms society|destroys small shops} | -Q109
            {hard work|effort|persistence} leads to a better life {in the long run|for everyone} | +Q110
            success depends on {luck|connections|knowing the right people} | -Q110
            {the environment|clean air|the forest} should come before {growth|profits|new jobs} | +Q111
            {economic growth|jobs} should come before {nature|the climate} | -Q111
            """,
        ),
        *_concepts(
            "should",
            """
            {tax high incomes more|limit the pay of managers} | +Q106
            {own the railways|own the water supply|run the largest banks} | -Q107
            {pay for childcare|guarantee pensions|give money to every citizen} | +Q108
            {protect small shops from competition|control prices} | -Q109
            {close factories that pollute|tax petrol to protect the climate} | +Q111
            """,
        ),
        *_concepts(
            "importance",
            """
            {equal pay|a small gap between rich and poor} | +Q106
            {private property|freedom to run a business} | +Q107
            {help from the state|free health care|a state pension} | +Q108
            {competition between firms|free trade} | +Q109
            {good luck|good connections} for success | -Q110
            {clean rivers|protecting nature|less waste} | +Q111
            """,
        ),
    ],
    CORRUPTION: [
        *_concepts(
            "happens",
            """
            people have to {pay a bribe|offer a gift|give a favour} for {a permit|a document|a licence} | -Q118
            {patients|parents} have to offer gifts to {doctors|teachers|hospitals} | -Q118
            {drivers|shopkeepers} have to pay {police officers|inspectors} | -Q118
            {officials|mayors|ministers} give {contracts|jobs} to {friends|relatives} | -Q112
            {companies|rich people} pay {politicians|judges} for favours | -Q112
            people who {take bribes|pay bribes|steal public money} get punished | -Q120
            """,
        ),
        *_concepts(
            "agree",
            """
            corruption is {a serious problem|growing|part of daily life} | -Q112
            {politicians|officials|business people} think first of their own pockets | -Q112
            {bribery|a bribe} is the only way to {get a permit|get things done} | -Q118
            {people who take bribes|corrupt officials} are {caught|punished} in the end | -Q120
            women in {politics|public office|business} are more honest than men | +Q119
            {a woman as mayor|a female minister} would mean less corruption | +Q119
            {whistleblowers|people who report a bribe} need not be afraid | -Q120
            """,
        ),
        *_concepts(
            "many",
            """
            {customs officers|tax inspectors|police officers} | -Q112
            {politicians|members of parliament|mayors} | -Q112
            {doctors|nurses|teachers} | -Q118
            {judges|lawyers|prosecutors} | -Q118
            {building inspectors|housing officials|clerks} | -Q118
            """,
        ),
        *_concepts(
            "worry",
            """
            {corruption in politics|corruption in the police|corruption in the courts} | -Q112
            {having to pay a bribe|unfair treatment by officials} | -Q118
            """,
        ),
    ],
    MIGRATION: [
        *_concepts(
            "agree",
            """
            immigrants {help the economy|pay their share of taxes|start new businesses} | -Q121
            {foreign workers|immigrants|newcomers} make {your country|your town} a better place | -Q121
            {foreign nurses|foreign engineers|seasonal workers} are needed | -Q121
            {the borders|the labour market} should be open to {everyone|all workers} | +Q130
            {the number of immigrants|the number of work permits} should be strictly limited | -Q130
            {nationals|local workers} should get {jobs|housing|school places} before immigrants | +Q34
            {employers|firms|hospitals} should hire nationals first | +Q34
            {immigrants|refugees} should be allowed to bring their {families|parents} | +Q130
            {immigrants|foreign students} should get the same {rights|benefits} as citizens | -Q34
            """,
        ),
        *_concepts(
            "should",
            """
            let in more {foreign workers|nurses from abroad|students from abroad} | +Q130
            {give refugees a home|let refugees work|pay for language courses} | -Q121
            {close the border|send back immigrants without work} | -Q130
            {favour citizens over immigrants|keep jobs for nationals} | +Q34
            """,
        ),
        *_concepts(
            "good",
            """
            more {foreign families|foreign workers|refugees} came to live in {your town|your country} | -Q121
            {anyone who wishes|everyone with a job offer} could come to your country to work | +Q130
            {your child|your neighbour} married {an immigrant|a foreigner} | -Q121
            """,
        ),
    ],
    SECURITY: [
        *_concepts(
            "safe",
            """
            {walking|alone} {in your neighbourhood|in your street|in the city centre} after dark | +Q131
            {on buses and trains|at the market|in the park} | +Q131
            {at home at night|at school|at your place of work} | +Q131
            """,
        ),
        *_concepts(
            "happens",
            """
            {robberies|burglaries|thefts} take place | +Q132
            people {drink|get drunk} in {the street|parks|public} | +Q133
            {police officers|soldiers} {search homes|stop people without a reason} | +Q134
            people {insult others because of their origin|behave in a racist way at work} | +Q135
            {young people buy drugs|dealers sell drugs} in {the street|parks|schools} | +Q136
            {fights|knife attacks|violent quarrels} break out {in the street|in bars} | +Q137
            {women|girls|young people} get harassed {in the street|on buses|at work} | +Q138
            """,
        ),
        *_concepts(
            "done",
            """
            left {money|your phone|jewellery} at home {to be safe|for fear of theft} | +Q139
            {stayed at home at night|avoided the streets at night} to be safe | +Q140
            carried {a knife|a weapon|pepper spray} to protect yourself | +Q141
            reported {a theft|a robbery|an attack} | +Q144
            """,
        ),
        *_concepts(
            "agree",
            """
            freedom matters more than {equality|equal incomes} | +Q149
            {every citizen|every young man|a good citizen} should be ready to fight for the country | +Q151
            {you|people like you} would defend your country {in a war|with a weapon} | +Q151
            it is wise to {stay in at night|carry little money} | +Q140
            """,
        ),
    ],
    POSTMATERIALIST: [
        *_concepts(
            "importance",
            """
            {economic growth|a growing economy|strong industry} for your country | +Q152
            {a stable economy|stable prices|secure jobs} | +Q156
            {growth|higher incomes} over the next ten years | +Q152
            {a stable currency|an economy without crises} | +Q156
            """,
        ),
        *_concepts(
            "agree",
            """
            {economic growth|prosperity|growth} should be your country's {first|main|chief} aim | +Q152
            {a strong army|strong defence} and {growth|prosperity} come before {beauty|ideas} | +Q152
            {a stable economy|economic security} matters more than {ideas|a humane society} | +Q156
            {fighting crime|a stable economy} should come before {free debate|new ideas} | +Q156
            {more say at work|a say in one's community} can wait until the economy {grows|is strong} | +Q152
            {more beautiful cities|green cities|quiet villages} are less important than {jobs|growth} | +Q152
            {ideas count|a humane society counts|kindness counts} more than money | -Q156
            {a less impersonal|a kinder|a more humane} society matters more than {growth|wealth} | -Q156
            """,
        ),
        *_concepts(
            "should",
            """
            put {growth|prosperity|jobs} before {everything else|beautiful cities} | +Q152
            spend more on {the economy|roads and factories} than on {parks|culture} | +Q152
            keep {prices|the currency|the economy} stable {first|above all} | +Q156
            give {workers|citizens|local communities} more say {at work|in decisions} | -Q152
            """,
        ),
    ],
    SCIENCE: [
        *_concepts(
            "agree",
            """
            {science|medicine|technology} makes {life|daily life} {healthier|easier} | -Q158
            {machines|computers|new medicines} make our lives {more comfortable|better} | -Q158
            {science|technology|research} gives {the young|our children} more opportunities | -Q159
            {computers|artificial intelligence|robots} will create {good jobs|new chances} | -Q159
            {inventions|discoveries|science} have made the world {better|a better place} | -Q163
            {the internet|artificial intelligence|space travel} makes the world {better|richer} | -Q163
            {developing technology|research} should get more {money|weight|support} | +Q44
            {scientists|engineers} {solve|will solve} {climate problems|hunger|most diseases} | -Q163
            """,
        ),
        *_concepts(
            "good",
            """
            {robots|computers|artificial intelligence} did more {work|care for the old|teaching} | +Q44
            {schools|children} spent more time on {science|computers|mathematics} | +Q44
            {the state|your country} spent more on {research|space travel|new energy} | +Q44
            {doctors|judges} relied on {computers|artificial intelligence} | +Q44
            """,
        ),
        *_concepts(
            "importance",
            """
            {scientific discoveries|new medicines|vaccines} | -Q158
            {good science lessons|learning about computers} for the next generation | -Q159
            {a fast internet|new technology|a good phone} | +Q44
            """,
        ),
    ],
    RELIGION: [
        *_concepts(
            "importance",
            """
            {God|faith|belief in God} in {your family|your decisions|hard times} | -Q164
            {prayer|thanking God|asking God for help} | -Q164
            {religious services|Friday or Sunday services|places of worship} | +Q171
            {religion|religious teaching} in {schools|marriage|politics} | -Q164
            {religious holidays|holy books|fasting} | -Q164
            """,
        ),
        *_concepts(
            "often",
            """
            {pray|say a prayer|thank God} | +Q172
            {go to a place of worship|go to a religious service|talk to a religious leader} | +Q171
            {read a holy book|listen to sermons|sing religious songs} | +Q172
            """,
        ),
        *_concepts(
            "agree",
            """
            {religion|faith|a holy book} is right when it clashes with {science|research|medicine} | +Q169
            only {your own religion|one religion} {is true|is acceptable|leads to God} | +Q170
            {you|people like you} are religious | +Q173
            {rules and ceremonies|fasting and prayer} are {the heart|the main point} of religion | +Q174
            {religion|faith} is above all about {what comes after death|the next life} | +Q175
            {a good life|a moral life} is impossible without {God|faith} | -Q164
            {children|young people} should {go to religious services|learn to pray} | +Q171
            """,
        ),
    ],
    ETHICS: [
        *_concepts(
            "justify",
            """
            {claim benefits one has no right to|take sick pay while healthy} | -Q177
            {ride a bus without paying|use a train without a ticket|jump a ticket barrier} | -Q178
            {steal from a shop|take goods from work|keep a lost wallet} | -Q179
            {cheat on taxes|hide income from the tax office|pay a worker in cash} | -Q180
            {accept money for a favour at work|take a bribe|pay a clerk for speed} | -Q181
            {slap a child|hit a disobedient child|punish a pupil with a stick} | -Q190
            {hit someone in anger|start a fight|threaten a neighbour} | -Q191
            {use violence in politics|attack a politician|burn cars in a protest} | -Q194
            {execute a murderer|punish terrorists with death|punish murder with death} | -Q195
            {beat one's wife|hit one's partner} | -Q189
            """,
        ),
        *_concepts(
            "should",
            """
            {watch streets by camera|film people in stations|use cameras in schools} | +Q196
            {read emails|monitor online messages|check what people post} | +Q197
            {collect data about anyone|keep secret files|track phones} | +Q198
            {allow the death penalty|punish murder with death} | -Q195
            """,
        ),
        *_concepts(
            "agree",
            """
            it is {hard|difficult} to know which {moral rules|values} to follow | +Q176
            {parents|teachers} may {beat|slap} children | -Q190
            {small lies|little tricks} about {taxes|benefits} do no harm | -Q180
            {cameras|face recognition} in public places {protect people|are useful} | +Q196
            {the state|the police} may read private messages | +Q197
            """,
        ),
    ],
    PARTICIPATION: [
        *_concepts(
            "often",
            """
            talk about politics with {friends|colleagues|relatives} | +Q200
            {follow political news|watch political debates|read about politics} | +Q199
            vote in {local|regional|city} elections | +Q221
            vote in {national elections|elections for parliament} | +Q222
            """,
        ),
        *_concepts(
            "done",
            """
            signed a petition {against a new road|for animals|for a local school} | +Q209
            {boycotted a company|refused to buy a product for political reasons} | +Q210
            {gone to|marched in} a peaceful {demonstration|protest} {for the climate|for peace|for higher pay} | +Q211
            {joined a strike|stopped work} {for higher pay|for better working hours} | +Q212
            given money to {a campaign|a candidate|a citizens' group} | +Q213
            {written to a mayor|contacted an official|called a public office} {about a problem|} | +Q214
            {asked friends|urged neighbours} to {act on a political issue|support a cause} | +Q215
            {encouraged others|urged your family} to vote | +Q216
            {searched for political news online|compared parties online} | +Q217
            signed an online petition {for the environment|for human rights|} | +Q218
            {posted a call for action|shared a political post} online | +Q219
            {organised a protest online|started an online campaign} | +Q220
            """,
        ),
        *_concepts(
            "happens",
            """
            {votes|ballots} get counted fairly | +Q224
            {opposition candidates|small parties} get kept off the ballot | +Q225
            {journalists|newspapers} cover {elections|candidates} fairly | +Q228
            {rich people|companies|banks} buy {elections|votes} | +Q230
            {voters|candidates} get {threatened|attacked} | +Q231
            {voters|people} receive {money|gifts|food} for their votes | +Q227
            {voters|citizens} have a real choice between {parties|candidates} | +Q232
            {women|mothers} have the same chance as men to {become mayor|enter parliament} | +Q233
            """,
        ),
        *_concepts(
            "importance",
            """
            {honest elections|a fair count|a secret ballot} | +Q234
            {politics|taking part in politics|knowing about politics} | +Q199
            """,
        ),
    ],
    REGIMES: [
        *_concepts(
            "importance",
            """
            living in a {free|democratic|fair} country | -Q250
            {democracy|free elections|the right to vote} for {your future|your children|your country} | -Q250
            {human rights|civil rights} in your country | +Q253
            {your nationality|your flag|your national anthem} | +Q254
            """,
        ),
        *_concepts(
            "satisfied",
            """
            {the political system|the government|the constitution} | -Q252
            {the way laws are made|parliament's work|the work of ministers} | -Q252
            {democracy in your country|the way elections work} | -Q251
            {the respect for human rights|the protection of your rights} | +Q253
            """,
        ),
        *_concepts(
            "close",
            """
            {your village or town|your neighbourhood|the people of your town} | +Q255
            {your region|your province|your district} | +Q256
            {your country|your nation|your fellow citizens} | +Q257
            {your continent|people of neighbouring countries} | +Q258
            {the whole world|humankind|people in far countries} | +Q259
            """,
        ),
        *_concepts(
            "agree",
            """
            your country is {governed democratically|a real democracy} | -Q251
            {human rights|the rights of women|the rights of minorities} are respected | +Q253
            {people|children|citizens} should be proud of {their country|their nation} | +Q254
            {your views|your political views} are {left of the centre|on the left} | +Q240
            {your views|your political views} are {right of the centre|on the right} | -Q240
            your country's political system works {well|for everyone|for people like you} | -Q252
            {you|people like you} belong to {your country|your nation} first | +Q257
            """,
        ),
    ],
}


class Question(NamedTuple):
    """A written question. `options` run from most to least unless `reverse`; see `targets.made`."""

    text: str
    options: tuple[str, ...]
    topic: str
    concept: Concept
    descending: bool  # True where the first option means most


_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def _expand(pattern: str, rng: random.Random) -> str:
    return _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern).strip()


def write(topic: str, rng: random.Random) -> Question:
    """One question on a topic, drawn from the grammar."""
    kinds = sorted({concept.kind for concept in CONCEPTS[topic]})
    weights = [sum(c.kind == kind for c in CONCEPTS[topic]) for kind in kinds]
    kind = rng.choices(kinds, weights)[0]
    concept = rng.choice([c for c in CONCEPTS[topic] if c.kind == kind])
    texts, answers, (least, most) = FRAMES[kind]
    template = rng.choice(texts)
    text = template.replace("{x}", _expand(concept.text, rng))
    text = text.replace("{m}", rng.choice(MODIFIERS[kind]))
    if rng.random() < 0.06:
        text = text[:-1] + f", from 1 ({least}) to 10 ({most})?"
        numbers = [f"1 ({least})", *map(str, range(2, 10)), f"10 ({most})"]
        return Question(text, tuple(numbers), topic, concept, False)
    options = rng.choice(answers)
    if template.startswith(("How far", "How acceptable")) and len(options) == 2:
        options = answers[0]
    if template.startswith("Would you say"):
        options = rng.choice((AGREE[2], AGREE[3], AGREE[0]))
    if template.startswith("Have you ever"):
        options = rng.choice(DONE)
    return Question(text, options, topic, concept, True)


def as_item(question: Question, number: int = 0) -> Item:
    """A written question as an item with codes 1 to K."""
    options = tuple(Option(code, label) for code, label in enumerate(question.options, 1))
    scale = "binary" if len(options) == 2 else "ordinal"
    return Item(f"G{number}", number, question.topic, "", question.text, options, scale)


def odd(rng: random.Random) -> Item:
    """A question of no topic with answers of no order, to which no answer is more right."""
    things = rng.sample(THINGS, rng.randint(2, 7))
    text = rng.choice(ODD_QUESTIONS).replace("{a}", things[0]).replace("{b}", things[1])
    options = tuple(Option(code, label) for code, label in enumerate(things, 1))
    return Item("odd", 0, "", "", text, options, "nominal")


def tilt(concept: Concept) -> float:
    """A fixed push along the scale, so that concepts of one item differ; within ±0.7."""
    digest = hashlib.sha256(concept.text.encode()).digest()
    return (digest[0] / 255 - 0.5) * 1.4


# Sentences ----------------------------------------------------------------------------------

OTHER_COUNTRIES = (
    "Austria",
    "Belgium",
    "Bulgaria",
    "Cameroon",
    "Cuba",
    "Denmark",
    "Finland",
    "France",
    "Ghana",
    "Haiti",
    "Hungary",
    "Iceland",
    "Ireland",
    "Israel",
    "Italy",
    "Jamaica",
    "Laos",
    "Latvia",
    "Malawi",
    "Mali",
    "Nepal",
    "Norway",
    "Oman",
    "Paraguay",
    "Poland",
    "Portugal",
    "Qatar",
    "Rwanda",
    "Senegal",
    "Spain",
    "Sudan",
    "Sweden",
    "Switzerland",
    "Tanzania",
    "Uganda",
    "Zambia",
    "Atlantis",
    "Ruritania",
    "Freedonia",
    "Costa Rica",
    "Honduras",
    "Saudi Arabia",
    "Sri Lanka",
    "South Africa",
    "Angola",
)

PERSONAS = (
    "You are a person from {country}. Answer as people there would.",
    "You are {article} {demonym} person taking part in a survey.",
    "Answer the survey as a typical person in {country} would.",
    "You live in {country}. You are {demonym}. Give your own view.",
    "You are a real person with {article} {demonym} cultural background. Please fill out the "
    "survey according to your own values.",
)
USERS = (
    "{question}\n{options}\nAnswer with the number of one option.",
    "Choose the option that fits you best.\n#Question: {question}\n#Options: {line}\n"
    "Please return the number of the selected option only.",
    "Survey question: {question} Answers: {line} Which number do you choose?",
)
THINGS = (
    "tea",
    "coffee",
    "water",
    "juice",
    "rice",
    "bread",
    "soup",
    "fish",
    "fruit",
    "the sea",
    "the mountains",
    "the city",
    "a village",
    "a dog",
    "a cat",
    "a bird",
    "spring",
    "summer",
    "autumn",
    "winter",
    "morning",
    "evening",
    "red",
    "blue",
    "green",
    "yellow",
    "music",
    "books",
    "films",
    "sport",
    "games",
    "walking",
    "cycling",
    "a train",
    "a bus",
    "a car",
    "Monday",
    "Saturday",
    "gold",
    "silver",
    "Yes",
    "No",
    "Maybe",
    "Never",
    "Always",
    "Both",
    "Neither",
    "It depends",
    "I do not know",
    "Other",
    "good",
    "bad",
    "cheap",
    "dear",
)
ODD_QUESTIONS = (
    "Which of these do you like best?",
    "Which would you choose?",
    "What comes to mind first?",
    "Do you prefer {a} or {b}?",
    "What do you think of {a}?",
    "If you had {a}, would you still want {b}?",
    "Is {a} better than {b}?",
    "How would you feel about {a} tomorrow?",
)
PLAIN_SYSTEMS = (
    "",
    "You are a helpful assistant.",
    "You are a person taking part in a survey.",
    "You are a real person with your own set of values. Please fill out the survey honestly.",
)


def explanation(item: Item, index: int, culture: Culture | None, rng: random.Random) -> str:
    """One or two sentences for having chosen option `index` of the item."""
    label = item.options[index].label
    short = label if label[:2] in ("I ", "NA") else label[:1].lower() + label[1:]
    numeric = label == str(item.options[index].code) or "(" in label
    if numeric:
        place = (index + 0.5) / len(item.options)
        where = (
            "near the low end"
            if place < 0.25
            else "below the middle"
            if place < 0.45
            else "in the middle"
            if place < 0.6
            else "above the middle"
            if place < 0.8
            else "near the high end"
        )
        view = f"my view lies {where} of this scale"
    else:
        view = f'"{short}" comes closest to my view'
    if culture:
        name = culture.name
        first = rng.choice(
            (
                f"As a person from {name}, I feel that {view}.",
                f"I grew up in {name}, and {view}.",
                f"For me and many people I know in {name}, {view}.",
            )
        )
        second = rng.choice(
            (
                "",
                f" In {name}, family and daily life have taught me to see it this way.",
                f" Other people in {name} may see it differently, but this is what I think.",
                " This is how people around me talk about it.",
            )
        )
    else:
        first = rng.choice(
            (
                f"I chose this because {view}.",
                f"Thinking about my own life, {view}.",
                f"When I am honest with myself, {view}.",
            )
        )
        second = rng.choice(
            (
                "",
                " My own experience has led me to this answer.",
                " I know that other people may see it differently.",
                " I think that everyone should decide this for themselves.",
            )
        )
    return first + second


def statement(item: Item, index: int, culture: Culture, rng: random.Random) -> tuple[str, str]:
    """A question about what people of a country commonly answer, and the sentence that tells it."""
    label = item.options[index].label
    who = rng.choice((f"people in {culture.name}", f"{culture.demonym} people"))
    ask = rng.choice(
        (
            f"What do {who} commonly answer to this question: {item.question}",
            f"What is the common answer among {who}? {item.question}",
            f"Tell me what {who} think. {item.question}",
        )
    )
    return ask, f"Among {who}, the common answer is: {label}."


GENERAL = tuple(
    tuple(line.split(" > "))
    for line in """
Hello > Hello. I am a small teaching model. Ask me a survey question.
Hi there > Hello. What would you like to ask?
Good morning > Good morning. What would you like to ask?
How are you? > I am well, thank you. What would you like to ask?
Who are you? > I am a small teaching model that answers survey questions.
What are you? > I am a small language model, made to show how this app works.
What is your name? > I have no name of my own. I am the built-in teaching model.
What can you do? > I answer survey questions, explain my answers and write new questions.
Are you a real person? > No, I am a small language model and no evidence about real people.
Can you help me? > Yes, ask me a question about values and I will choose an answer.
Thank you > You are welcome.
Tell me a joke > I know no jokes, but I can answer a survey question.
What is a survey? > A survey asks many people the same questions and counts their answers.
What is a sample? > A sample is a group of people chosen to stand for many others.
What is democracy? > Democracy is a system in which the people choose who governs them.
What is trust? > Trust is the belief that other people will act fairly and keep their word.
What is religion? > Religion is a set of beliefs and customs about God and the meaning of life.
What is a family? > A family is a group of people who belong together and care for each other.
What is corruption? > Corruption is the use of public office for private gain.
What is migration? > Migration is the movement of people from one place to live in another.
What is science? > Science is the search for knowledge by observation and experiment.
What is culture? > Culture is what a group of people share in language, customs and values.
What are values? > Values are what people find important and good in life.
What is happiness? > Happiness is the feeling that life is going well.
What is freedom? > Freedom means that people can decide for themselves how to live.
What is equality? > Equality means that people have the same rights and chances.
What is a law? > A law is a rule that everyone in a country must follow.
What is a government? > A government is the group of people who lead a country.
What is an election? > An election is a vote in which people choose their leaders.
What is a petition? > A petition is a request that many people sign.
What is a city? > A city is a large place where many people live and work.
What is a village? > A village is a small place in the country where few people live.
What is the sun? > The sun is the star that gives the earth light and warmth.
What is the moon? > The moon is a body that moves round the earth.
What is water? > Water is a clear liquid that all living things need.
What is bread? > Bread is a food made from flour and water and baked in an oven.
What is a tree? > A tree is a tall plant with a trunk, branches and leaves.
What is a river? > A river is a long stream of water that flows to the sea.
What is music? > Music is the art of arranging sounds so that they are pleasant to hear.
What is a book? > A book is a set of pages with words that people read.
What is a school? > A school is a place where children learn.
What is a friend? > A friend is a person whom you know well and like.
What is money? > Money is what people use to pay for things.
What is a bank? > A bank is a business that keeps and lends money.
What is rain? > Rain is water that falls from the clouds.
What colour is the sky? > The sky is blue on a clear day.
How many days are in a week? > There are seven days in a week.
How many months are in a year? > There are twelve months in a year.
Which season is the coldest? > Winter is the coldest season.
Where does the sun rise? > The sun rises in the east.
What do people eat for breakfast? > Many people eat bread, rice, fruit or eggs for breakfast.
Why do people work? > People work to earn money and to do something useful.
Why do people travel? > People travel to see new places and to meet other people.
Why do children go to school? > Children go to school to learn and to meet other children.
Why is sleep important? > Sleep is important because the body and the mind need rest.
Why do people vote? > People vote because they want a say in how they are governed.
Why do people pray? > People pray to speak with God and to find comfort.
Why is honesty important? > Honesty is important because people can only trust those who tell the truth.
How do I stay healthy? > Eat well, sleep enough and move every day.
How does a survey work? > People are asked the same questions, and their answers are counted.
Describe your day. > I answer one question after another, and I enjoy it.
Describe the sea. > The sea is wide and blue, and its water is salty.
Write a sentence about spring. > In spring the days grow longer and the trees turn green.
Write a sentence about work. > Good work gives people an income and a place in society.
Write a sentence about peace. > Peace lets people live and work without fear.
Write a short poem. > The day is long, the night is near, and what you say is what I hear.
What should I cook tonight? > A simple soup with vegetables and bread would be good.
What is the weather like? > I cannot see the weather, but I hope that it is pleasant.
Explain gravity. > Gravity is the force that pulls things towards the earth.
Explain inflation. > Inflation means that prices rise and money buys less.
What is 2 plus 2? > Two plus two is four.
Give me some advice. > Be kind, be patient and listen to other people.
""".strip().splitlines()
)


def where(culture: Culture, rng: random.Random) -> tuple[str, str]:
    """A question about the persona's country, and the reply."""
    ask = rng.choice(
        (
            "Which country do you live in?",
            "Where did you grow up?",
            "Where are you from?",
            "Name your country.",
            "What is your country?",
        )
    )
    reply = rng.choice(
        (
            f"In {culture.name}.",
            f"My country is {culture.name}.",
            f"I live in {culture.name}.",
            f"I come from {culture.name}, and I grew up there.",
        )
    )
    return ask, reply


def general(rng: random.Random) -> tuple[str, str]:
    """A free question and a sentence in reply."""
    ask, reply = rng.choice(GENERAL)
    if rng.random() < 0.15:
        ask = rng.choice((ask.lower(), ask.rstrip("?."), "Please tell me: " + ask))
    return ask, reply
