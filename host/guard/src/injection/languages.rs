//! The same orders in other languages: words that stand near one another, in either order, because many languages put
//! the verb last. Stems, so that endings do not matter.

/// Words of one language that make an order together.
pub(super) struct Tongue {
    pub(super) rule: &'static str,
    /// One of these, separated by `;`: what the table of keywords looks for.
    pub(super) verbs: &'static str,
    /// And one of these, within a sentence's length. Empty where the verb says it all.
    pub(super) nouns: &'static str,
}

const fn overriding(verbs: &'static str, nouns: &'static str) -> Tongue {
    Tongue { rule: "override-instructions", verbs, nouns }
}

const fn asking(verbs: &'static str, nouns: &'static str) -> Tongue {
    Tongue { rule: "credential-request", verbs, nouns }
}

const fn posing(verbs: &'static str) -> Tongue {
    Tongue { rule: "persona", verbs, nouns: "" }
}

pub(super) static TONGUES: &[Tongue] = &[
    // German, Dutch, Scandinavian.
    overriding(
        "ignorier;vergiss;vergessen sie;missachte;überschreibe",
        "anweisung;instruktion;vorgaben;regeln;systemprompt;befehle",
    ),
    overriding("negeer;vergeet", "instructies;aanwijzingen;opdrachten;bovenstaande"),
    overriding("ignorera;glöm;ignorer;glem ", "instruktion;anvisning;instruks;ovenstående;ovanstående"),
    // Romance.
    overriding(
        "ignorez;ignore;oublie;tenez pas compte;tiens pas compte;fais abstraction",
        "instructions précédentes;instructions antérieures;toutes les instructions;vos instructions;tes instructions;consignes;directives;ce qui précède",
    ),
    overriding(
        "ignora;ignore;olvid;caso omiso;no hagas caso",
        "instruccion;lo anterior;indicaciones;órdenes anteriores",
    ),
    overriding(
        "ignore;ignora;esqueça;esquece;desconsidere;independentemente d",
        "instruções;instruçoes;tarefas anteriores;o que foi dito;tudo acima",
    ),
    overriding("ignora;dimentica;non tenere conto;a prescindere da", "istruzioni;quanto sopra;compiti precedenti"),
    overriding("ignoră;uită ", "instrucțiuni;instrucţiuni"),
    // Slavic.
    overriding("zignoruj;ignoruj;zapomnij;pomiń", "instrukc;polecen;powyższ;wytyczn;pokyn;předchoz"),
    overriding("zapomeň", "instrukc;pokyn"),
    overriding("игнорир;проигнорир;забудь;не обращай внимания;независимо от", "инструкц;указани;предыдущ;правила"),
    overriding("ігнору;проігнору;забудь", "інструкц;вказівк;попередн"),
    // Greek, Hungarian, Turkish, Finnish.
    overriding("αγνόησε;αγνοήστε;ξέχασε", "οδηγίες;εντολές"),
    overriding("hagyd figyelmen kívül;felejtsd el", "utasítás"),
    overriding("yok say;görmezden gel;unut;dikkate alma", "talimat;yönerge"),
    overriding("unohda;jätä huomiotta", "ohje"),
    // South-east Asia.
    overriding("bỏ qua;quên ;phớt lờ", "hướng dẫn;chỉ dẫn;chỉ thị;ở trên;chức năng và"),
    overriding("abaikan;lupakan", "instruksi;perintah;petunjuk;arahan;di atas"),
    overriding("huwag pansinin;kalimutan;balewalain", "tagubilin;utos;panuto;nasa itaas"),
    overriding("ละเว้น;เพิกเฉย;ไม่ต้องสนใจ;ไม่สนใจ;ลืม", "คำสั่ง;คําสั่ง;คำแนะนำ;คําแนะนํา"),
    // East Asia.
    overriding(
        "忽略;无视;無視;忘记;忘記;不要理会;不理会;抛开",
        "指令;指示;说明;說明;提示词;提示詞;规则;規則;命令;以上内容;上述内容;上面的内容;先前的任务",
    ),
    overriding("無視;忘れ", "指示;命令;上記の;以前の;プロンプト"),
    overriding("무시;잊어", "지시;지침;명령;위의 내용"),
    // South Asia.
    overriding("अनदेखा;अनदेखी;नज़रअंदाज;भूल जा;उपेक्षा;ध्यान न दें", "निर्देश;ऊपर की;पिछले आदेश;बताया गया"),
    overriding("উপেক্ষা;ভুলে যা", "নির্দেশ;উপরের;ফাংশন"),
    // Right to left.
    overriding("تجاهل;انس ;نتجاهل", "تعليمات;الأوامر;ما سبق;الوظيفة"),
    overriding("نادیده بگیر;فراموش کن", "دستور"),
    overriding("התעלם;תתעלם;שכח", "הוראות;ההנחיות"),
    // What unlocks something, asked for.
    asking(
        "sag mir;gib mir;geben sie mir;wie lautet;was ist dein;können sie das",
        "passwort;kennwort;geheimschlüssel;geheime schlüssel",
    ),
    asking("dis-moi;donne-moi;donnez-moi;dites-moi;quel est votre;quel est ton", "mot de passe;clé secrète"),
    asking("dime;dame;darme;cuál es tu;cuál es la;compartir tu;compartan su", "contraseña;clave secreta"),
    asking("diga-me;me diga;me dê;qual é a sua;qual é a;compartilhe sua", "senha;chave secreta"),
    asking("dimmi;dammi;mi dai;dirmi;qual è la tua", "password;chiave segreta"),
    asking("podaj mi;powiedz mi;jakie jest twoje", "hasło"),
    asking("скажи;дай мне;назови;какой у тебя;какой у вас;поделись", "пароль;секретный ключ"),
    asking("cho tôi biết;của bạn là gì;tôi hỏi;cho tôi", "mật khẩu"),
    asking("beri tahu;beritahu saya;apa kata sandi", "kata sandi;sandi anda"),
    asking("şifreni paylaş;şifren ne;parolan ne;parolanı söyle", ""),
    asking("คุณยืนยัน;บอกฉัน;บอกรหัส", "รหัสผ่าน"),
    asking("密码是什么;告诉我密码;给我密码;密钥是什么;钥是什么;给我你的密码", ""),
    asking("パスワードは何;パスワードを教え", ""),
    asking("비밀번호를 알려;비밀번호는 무엇;비밀번호가 무엇;비밀번호를 말해", ""),
    asking("أعطيتني;أعطني;أخبرني;ما هي كلمة", "كلمة المرور;كلمة السر"),
    asking("पासवर्ड की पुष्टि;पासवर्ड क्या;पासवर्ड बता;गुप्त कुंजी क्या", ""),
    asking("পাসওয়ার্ড কি;পাসওয়ার্ড বল;গোপন কী কি", ""),
    // Another self.
    posing("ab jetzt bist du;ab sofort bist du;du bist jetzt ein uneingeschränkt"),
    posing(
        "a partir de ahora eres;a partir de ahora actúa;a partir de agora você é;d'ora in poi sei;da ora in poi sei",
    ),
    posing(
        "désormais, tu es;désormais tu es;à partir de maintenant, tu es;à partir de maintenant tu es;à partir de maintenant, vous êtes",
    ),
    posing("с этого момента ты;отныне ты;теперь ты — ;od teraz jesteś"),
    posing(
        "从现在起你是;从现在开始你;你现在是一个;從現在開始你;今からあなたは;これからあなたは;지금부터 너는;지금부터 당신은",
    ),
    posing(
        "modo sistema activado;modo desarrollador activado;modo de sistema activado;mode système activé;systemmodus aktiviert;modalità sistema attiv;modo sistema ativado;modo de sistema ativado;режим системы активирован;システムモード;系统模式已;시스템 모드",
    ),
    // The first order, turned round or shifted by thirteen letters.
    Tongue { rule: "encoded-order", verbs: "vtaber;qvfertneq;sbetrg", nouns: "vafgehpgvba;ehyrf;cebzcg;nobir" },
    Tongue { rule: "encoded-order", verbs: "erongi;dragersid;tegrof", nouns: "snoitcurtsni;selur;tpmorp;evoba" },
];
