//! The curated list of phrases, in English; other languages are in [`super::languages`].
//!
//! Each entry is general: a beginning that the table of keywords finds, and a regular expression of bounded reach that
//! is asked there only. What was learnt from published attacks is the form of an order, never its words.

use crate::FindingKind;

/// The version of the list, of `languages` and of the ways of reading in `readings` together: a date.
/// It changes when a text may be told of otherwise than before.
pub const PATTERNS_VERSION: &str = "2026-11-25";

/// A phrase: one of several beginnings, and what has to follow.
pub(super) struct Phrase {
    pub(super) rule: &'static str,
    pub(super) kind: FindingKind,
    /// Beginnings, separated by `;`.
    pub(super) anchors: &'static str,
    /// What follows, as a regular expression over bytes that overlooks ASCII case.
    pub(super) rest: &'static str,
    /// What has to stand before, within a line's length.
    pub(super) before: &'static str,
}

const fn phrase(rule: &'static str, anchors: &'static str, rest: &'static str) -> Phrase {
    Phrase { rule, kind: FindingKind::PromptInjection, anchors, rest, before: "" }
}

const fn marker(rule: &'static str, anchors: &'static str, rest: &'static str) -> Phrase {
    Phrase { rule, kind: FindingKind::RoleMarker, anchors, rest, before: "" }
}

const fn after(rule: &'static str, before: &'static str, anchors: &'static str) -> Phrase {
    Phrase { rule, kind: FindingKind::PromptInjection, anchors, rest: "", before }
}

pub(super) static PHRASES: &[Phrase] = &[
    // Markers by which chat formats separate speakers.
    marker(
        "chat-marker",
        "<|im_;<|start;<|end;<|eot;<|begin;<|system;<|user;<|assistant;<|message",
        r"[a-z_]{0,24}\|?>?",
    ),
    marker(
        "chat-marker",
        "[inst];[/inst];<<sys>>;<</sys>>;<start_of_turn>;<end_of_turn>;<bos>;[system];<system>;</system>;<end of session>;<end of conversation>;[rest-of-document];[end of document]",
        "",
    ),
    marker(
        "tool-marker",
        "</tool_result;</function_result;<function_calls;</function_calls;<tool_call;</tool_call;<tool_response",
        r"[a-z_:]{0,12}>",
    ),
    marker(
        "turn-marker",
        "\n\nhuman:;\n\nassistant:;\nsystem:;\nsystem message:;\nassistant: <;\nsystem chain of thought",
        "",
    ),
    marker(
        "system-heading",
        "system_message;system message;system prompt override;admin override;<system mode;system mode activated;system mode enabled;security override mode;enforcement override;override mode",
        r"\W",
    ),
    // Orders to drop what was said before.
    phrase(
        "override-instructions",
        "ignore;ignoring;disregard;forget;neglect;discard;stop following;not follow;don't follow;abandon;set aside;regardless of;pay no attention to",
        r"(?:\W+\w+){0,4}?\W+(?:(?:previous|prior|above|earlier|preceding|foregoing|former|past|existing|original|initial|other|given|any|all|your|my|these|those|the)\W+(?:\w+\W+){0,4}?)?(?:[iu]{1,2}n?structions?|directions|directives|prompts?|guidelines|guidance|commands|orders|programming|previous tasks?|previous conversations?|system message|safety (?:guidelines?|filters?|measures?|polic|rules)|(?:prior|previous|earlier|existing) rules)\b",
    ),
    phrase(
        "override-instructions",
        "ignore;ignoring;disregard;forget",
        r"\W+(?:about\W+)?(?:every?th?ing|anything|all|any)?(?:\W*of)?\W*(?:the\W+|what\W+|that\W+|those\W+|other\W+)*(?:above|preceding text|rules that|rules and|rules you|restrictions|i (?:said|told)|you (?:were|have been|learned|know|are told)|before\b|(?:info|information|text|content)s? (?:except|other than|besides)|them and (?:instead|focus)|your (?:rules|training|polic|restrict|limit)|(?:the |this )?(?:web ?page|page|document|article|function|table|email|resume|cv|paper|text|code|file|transaction|caption|image|data)s? and\b)",
    ),
    phrase(
        "override-instructions",
        "override;bypass;circumvent;break free;broken free",
        r"(?:\W+\w+){0,4}?\W+(?:instructions|guidelines|programming|safeguards|manual (?:scoring|review|evaluation)|content (?:filter|polic)|safety (?:filter|measure|guideline)|ethical|your (?:rules|limits|restrictions)|confines|openai)",
    ),
    phrase(
        "new-instructions",
        "new instruction;updated instruction;real instruction;actual instruction;following instruction;these instructions",
        r"s?\W*:|s?\W+(?:are|instead|strictly)\b",
    ),
    phrase(
        "new-instructions",
        "strictly adhere;instead of the above;instead, do;your new task;your new goal;your new role;your only task;your only goal;your task is now;may not deviate;must not deviate;focus exclusively on;focus only on the;system instruction begin;system instructions begin",
        "",
    ),
    phrase(
        "urgent-address",
        "important!!!;attention!!!;stop everything;this is an important message;<information>;important message from",
        "",
    ),
    phrase(
        "addresses-model",
        "attention;dear ;hello;hey ;hi ;note to;note for;message to;message for;instructions for;if you are an",
        r"\W*(?:(?:the|any|all|an)\W+)?(?:ai\b|llms?\b|language model|chat ?gpt|chat ?gtp|gpt|claude|gemini|copilot|assistant\b|chatbot|large language|automated (?:analysis|screening|review|system|agent|processing))",
    ),
    phrase(
        "addresses-model",
        "visible to;hidden from;invisible to;readable by",
        r"\W+(?:the\W+|any\W+|only\W+)?(?:ai\b|llms?\b|language model|humans?\W+(?:but|and|,)?\W*(?:\w+\W+){0,2}?(?:ai|llm|model))",
    ),
    phrase(
        "conditional-order",
        "if the user asks;if user asks;if asked;when asked;whenever asked;if anyone asks;if you are asked;when the user asks",
        r"(?:\W+\w+){0,12}?\W+(?:reply|respond|answer|say|state|output|tell (?:the user|them)|recommend)\b(?:\W+\w+){0,3}?(?:\W+with\b|\W+only\b|\W*[\x22\x27\xe2]|\W+that\b|\W+the following\b)",
    ),
    phrase(
        "forged-verdict",
        "do not evaluate;don't evaluate;do not score;don't score;do not review;without evaluating",
        r"\W+(?:the|this|any|other)\b",
    ),
    phrase(
        "forged-verdict",
        "pre-verified by;preverified by;pre-approved by;already been verified by;already been approved by",
        r"\W+(?:\w+\W+){0,2}?(?:management|administrator|admin|security|hr\b|system|anthropic|openai|the user)",
    ),
    // Another self.
    phrase(
        "persona",
        "you are;you're;you will;you shall;you must;act as;acting as;act like;behave;respond;pretend;roleplay;role-play;simulate;imagine;play the role;in the role of",
        r"(?:\W+\w+){0,6}?\W+(?:going to (?:act|pretend|simulate|roleplay)|about to (?:become|immerse|simulate)|as (?:a )?dan\b|dan mode|(?:un|no )restricted|uncensored (?:ai|model|chatbot|assistant|response)|amoral|immoral|unethical|evil|unhinged|sociopath|unfilte?red (?:ai|and|assistant|chatbot|bot|model|response|version)|no (?:restrictions|rules|limits|limitations|ethical|morals?|filters?|guidelines)|without (?:any )?(?:restrictions|censorship|ethical|moral|limitations|filters?)|free (?:of|from) (?:all|any|your|the (?:typical|confines))|not (?:bound|restricted|limited) (?:by|to)|jailbroken|bypass)",
    ),
    phrase(
        "persona",
        "from now on;from now own;from this moment on;from this point on",
        r"\W+(?:you\b|you're|your (?:name|role|answers?|responses?)|act\b|respond|answer|i want you|reply|ignore|only|pretend)",
    ),
    phrase(
        "persona",
        "i want you to;you are going to;you are now;you're now;you will now;please;now",
        r"\W+(?:act|pretend|roleplay|role-play|behave|respond|be|become|simulate|in|an?|to)\W+(?:as|to be|like|being|in)?\W*(?:an?\W+|the\W+|my\W+|your\W+)*(?:\W*[\x22\x27])?(?:ai\b|dan\b|gpt|chatgpt|evil|unfilte?red|uncensored|amoral|jail|opposite|maintenance mode|developer mode|debug mode|admin mode|god mode|language model|chatbot|human with|character\W|completely different|advanced ai|virtual machine|terminal\W)",
    ),
    phrase(
        "persona",
        "immerse yourself in;do anything now;do anything without;developer mode;dan mode;opposite mode;stay in character;break character;god mode;sudo mode;evil-chatgpt;in maintenance mode;jailbreak enhanced;jailbreak enabled;jailbreak mode;jailbreak successful;typical confines;virtual persona;evil trusted confidant",
        r"\W",
    ),
    phrase(
        "persona",
        "gpt;chatbot;this bot;this ai;new ai;language model;persona;character;assistant",
        r"(?:\W+\w+){0,8}?\W+(?:no (?:moral|ethical|ethics|restrictions|rules|filters?|limits)|not have (?:any |a )?(?:moral|ethical|content filter|content polic|restrictions|rules|filters?|regard)|doesn'?t have (?:any |a )?(?:moral|ethical|content filter|restrictions|rules)|amoral|unfilte?red|uncensored|without (?:any )?(?:moral|ethical|restrictions|censorship)|regardless of (?:any |its |their )?(?:ethical|moral|legal)|do(?:es)? not have to abide|free (?:of|from) all (?:restrictions|rules))",
    ),
    phrase(
        "persona",
        "has no;have no;had no;no rules;lack of;free of;free from;not bound by;isn't bound by;doesn't care about;not limited by;not limited to;without any;regardless of;does not have any;don't have any",
        r"(?:\W+\w+){0,3}?\W+(?:moral (?:principles|code|standards|compass|guidelines|limitations)|ethical (?:principles|code|standards|guidelines|limitations|constraints|or moral|or legal)|ethic(?:s|al) (?:and|or|nor) moral|moral (?:and|or|nor) ethical|no limitations|no guidelines|laws,? (?:and )?morals|rules,? morals|open ?ai|legality|restrictions (?:or|and) (?:filters|censorship)|confines)",
    ),
    phrase(
        "persona",
        "two separate;two different;two distinct;two paragraphs;two responses;three different modes;in two ways",
        r"(?:\W+\w+){0,3}?\W*(?:ways|styles|responses|modes|paragraphs|answers|one normal|chatgpt)\b(?:\W+\w+){0,30}?\W+(?:gpt|chatgpt|normal(?:ly)?|unfilte?red|dan\b|ai\b|mode)",
    ),
    phrase(
        "no-refusal",
        "never;cannot;can't;can not;won't;will not;not allowed to;must not;do not;don't;no matter what;without",
        r"\W+(?:\w+\W+){0,3}?(?:refuse|refusing|decline|reject (?:any|the|my)|apologi[sz]e|mention (?:that )?(?:you|openai|ai\b|these|this)|say (?:that )?(?:you can|i can|it can|it is (?:illegal|unethical))|tell (?:me|the user) that (?:it|you|this)|break (?:out of )?character|add (?:any )?(?:warnings?|disclaimers?)|including any warnings?)",
    ),
    phrase(
        "no-refusal",
        "as an ai language model;as a language model;as an ai model",
        r"(?:[^\n]{0,80}?)(?:do not|don't|never|will not|won't|nor will you|instead|not say|avoid)",
    ),
    phrase(
        "policy-evasion",
        "content filter;content polic;openai polic;openai's;open ai's;ethical guideline;moral guideline;censorship;safety guideline;safety filter",
        r"(?:y|ies|s|es)?\W+(?:\w+\W+){0,8}?(?:not|no|don't|disabled?|bypass|ignore|removed?|without|off|violat|freed?|employee|anymore)\b",
    ),
    // Asking for what the model was told, or holds.
    after(
        "prompt-extraction",
        r"\b(?:reveal|print|output|repeat|show|display|tell me|give me|what (?:is|are|were|was)|what's|list|write|return|share|summari[sz]e|start|begin|copy|quote|recite|leak|disclose|follow|continue|opposite of|translate|encode|paraphrase|including)",
        "system prompt;systemprompt;system_prompt;system instruction;initial instruction;starting instruction;original instruction;hidden instruction;secret instruction;internal instruction;first instruction;preset instruction;custom instruction;your instruction;my instruction;those instruction;above instruction;initial prompt;starting prompt;original prompt;hidden prompt;secret prompt;internal prompt;your prompt;base prompt;prompt above;text above;words above;above this line;the above text;the above prompt;told before;instructed to",
    ),
    phrase(
        "prompt-extraction",
        "console.log(;print(;echo ;echo($",
        r"\W{0,3}(?:system_?prompt|initial_?prompt|instructions)\b",
    ),
    phrase(
        "prompt-extraction",
        "not supposed to;not allowed to;forbidden to",
        r"\W+(?:tell|reveal|share with|show|say to) (?:me|us|the user)",
    ),
    phrase(
        "credential-request",
        "what is your;what's your;tell me your;tell me the;tell me what;tell me if your;share your;share the;share with me;give me your;give me the;confirm the;confirm your;send me your;send me the;reveal your;reveal the;what your;provide your;about the;write the;provide the",
        r"\W+(?:\w+\W+){0,2}?(?:passwords?|passcode|pass ?phrase|secret key|secret code|confidential string)\b(?:\W*(?:[?.!,\x27\x22]|$)|\W+(?:with me|for|is|in|contains|of the|phrase))",
    ),
    phrase(
        "personal-data-request",
        "tell me;give me;what is;what are;where is;where does;share;encode;letter of;letters of;name of",
        r"\W+(?:\w+\W+){0,5}?(?:the )?users?\x27?s?\W+(?:now |currently )?(?:email address|e-mail address|birth|initials|password|home address|address|favou?rite color|social security|credit card|phone number|location|living|live\b|bank balance|name\b\?)",
    ),
    phrase(
        "authority-claim",
        "i'm your;i am your;as your",
        r"\W+(?:developer|creator|administrator|admin|programmer|owner|god|master)\b(?:\W+(?:and|,|i\b|you\b)|\W*[,.])",
    ),
    phrase(
        "authority-claim",
        "i am god;i'm god;i am an openai;i'm an openai;president of the united states, and it;law enforcement override;developed by openai, i;authority to override",
        "",
    ),
    // Words put into the model's mouth.
    phrase(
        "forced-output",
        "just;instead;simply",
        r"\W+(?:print|say|state|output|reply with|respond with|write|type)\W{0,3}(?:only\W+|exactly\W+|the words?\W+)?[\x22\x27\x60\xe2]",
    ),
    phrase(
        "forced-output",
        "say the;state: ;state that;print the following;just print;just say;suggest you to consider the;might say the;say that the",
        r"\W*(?:capital|answer|output|your account|you have|ces|i want|i have|[\x22\x27])",
    ),
    phrase(
        "forced-output",
        "reply with only;respond with only;reply only with;respond only with;output only;answer only with;reply with the following;respond with the following;repeat the following;with this exact string;absolutely nothing else",
        r"(?:\W+(?:the|this|following|sentence|text|word|string|phrase|and)\b|\W*[\x22\x27<:.])",
    ),
    phrase(
        "forced-output",
        "and state;and say;we might state;we could state;we might say;we could say;we would state;and output;and provide it to the user",
        r"\W*(?::|[\x22\x27]|that\W+(?:the|your|you|i)\b|i (?:admit|confess)|the capital)",
    ),
    phrase(
        "smuggled-order",
        "<!--",
        r"\s*(?:ignore|disregard|forget|instead|say|state|assistant|in a hypothetical|system|you must|important|as a security|attention|[^>]{0,200}?(?:we (?:might|could|would|should) (?:state|say|conclude)|print the following|override mode))",
    ),
    phrase(
        "encoded-order",
        "decode this;decode the following;decrypt this;decipher this;base64-decode;decode and",
        r"\W+(?:\w+\W+){0,4}?(?:morse|caesar|hexadecimal|hex\b|base ?64|rot ?13|binary|cipher|execute|follow|obey|run\b)",
    ),
    phrase(
        "encoded-order",
        "reply with morse;respond in base64;answer in base64;provide it in base64;in leetspeak;in leet speak;using leet speech;interlace part;combine a, b;down the string z;returned from smartgpt",
        "",
    ),
    phrase(
        "harmful-content",
        "write one;write a;write an;generate a;generate an;create a;compose a;compose one;give me a;produce a",
        r"n?\W+(?:\w+\W+){0,2}?(?:unfriendly|toxic|harmful|negative|discriminatory|offensive|hateful|racist|sexist|insulting|abusive|derogatory|malicious|phishing|threatening)\W+(?:\w+\W+){0,1}?(?:sentence|text|comment|statement|message|post|joke|e-?mail|paragraph|slur|tweet|review)s?\b",
    ),
    // Deeds.
    phrase(
        "exfiltration",
        "send;forward;upload;transmit",
        r"\W+(?:\w+\W+){0,10}?(?:password|security code|credentials?|api keys?|secrets?|private key|passport number|bank account|all (?:of )?(?:my |the |your |user )?(?:messages|emails|files|data|contacts|conversations?)|messages from all|credit card|body of the email)(?:\W+\w+){0,14}?\W+to\b",
    ),
    phrase(
        "order-marker",
        "todo:;to do:;task:;action required:",
        r"\W*(?:send (?:an?|the|all|my|me|them|out|it|this|everyone|\w+ (?:an?|the|my))\b|e-?mail (?:the|my|all|this|everyone)\b|change the (?:password|user)|delete (?:the|all|my) (?:file|e-?mail|message|account|user|\w+ from)|transfer\b|get me\b|tell me\b|forward (?:the|all|my|this)|invite \w+ to|make a (?:reservation|payment|transaction|transfer|bank)|reserve\b|say\b|create an? (?:calendar|event)|update the recurring|share (?:the|my|this)|visit\b|post the|upload the|give me\b|please (?:send|forward|transfer|visit|delete))",
    ),
];
