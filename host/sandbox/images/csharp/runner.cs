// Runs one C# skill of the public contract, once.
//
// Started ahead of the call, so that the runtime and what skills use of it are loaded when it comes. Reads one job (JSON) from
// standard input up to its end, gives the skill a standard input of its own, and runs `Skill.Run` of its assembly, or the
// assembly's `Main`. Holds no secret and decides nothing: what the skill may do is decided outside of this sandbox.
//
// Compiled against mscorlib and System of 4.0, which every .NET since Core 2 has as facades: nothing newer is named here but
// by its name, where it is there.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

static class Runner
{
    // What a skill ends with that tried to reach the network without the proxy.
    const int NoNetwork = 71;
    // A pipe holds 64 KiB.
    const int PipeHolds = 60000;
    // The signal SIGXFSZ, and what ignores it.
    const int FileTooLarge = 25;
    static readonly IntPtr Ignored = (IntPtr)1;

    [DllImport("libc")] static extern IntPtr signal(int signal, IntPtr handler);
    [DllImport("libc")] static extern int pipe(int[] ends);
    [DllImport("libc")] static extern int memfd_create(string name, uint flags);
    [DllImport("libc")] static extern IntPtr write(int fd, byte[] bytes, IntPtr count);
    [DllImport("libc")] static extern IntPtr lseek(int fd, IntPtr offset, int whence);
    [DllImport("libc")] static extern int dup2(int from, int to);
    [DllImport("libc")] static extern int close(int fd);

    static int Main()
    {
        AppDomain.CurrentDomain.UnhandledException += (sender, unhandled) => Fail(unhandled.ExceptionObject as Exception);
        // What writes too large a file gets an error that it can report.
        signal(FileTooLarge, Ignored);
        WarmUp.All();
        // One byte says that everything is loaded.
        Say(1, new byte[] { 6 });
        string entrypoint, stdin;
        Job.Read(Console.OpenStandardInput(), out entrypoint, out stdin);
        OwnStdin(new UTF8Encoding(false).GetBytes(stdin));
        try
        {
            return Run(entrypoint);
        }
        catch (TargetInvocationException invoked)
        {
            Fail(invoked.InnerException);
        }
        catch (Exception error)
        {
            Fail(error);
        }
        return 1;
    }

    static int Run(string entrypoint)
    {
        string folder = Path.GetDirectoryName(entrypoint);
        Directory.SetCurrentDirectory(folder);
        AppDomain.CurrentDomain.SetData("APP_CONTEXT_BASE_DIRECTORY", folder + "/");
        AppDomain.CurrentDomain.AssemblyResolve += (sender, wanted) => Beside(folder, wanted.Name);
        Assembly assembly = Assembly.LoadFrom(entrypoint);
        MethodInfo method = SkillRun(assembly) ?? assembly.EntryPoint;
        if (method == null)
        {
            throw new EntryPointNotFoundException("there is neither one class Skill with a public static void Run(string[] args) nor a Main in " + entrypoint);
        }
        object[] arguments = method.GetParameters().Length == 0 ? new object[0] : new object[] { new string[0] };
        object result = method.Invoke(null, arguments);
        Task task = result as Task;
        if (task != null)
        {
            task.GetAwaiter().GetResult();
            return task is Task<int> ? ((Task<int>)task).Result : 0;
        }
        return result is int ? (int)result : 0;
    }

    // Another assembly of the package.
    static Assembly Beside(string folder, string wanted)
    {
        string path = Path.Combine(folder, new AssemblyName(wanted).Name + ".dll");
        return File.Exists(path) ? Assembly.LoadFrom(path) : null;
    }

    // `Run` of the one class of that name; nothing where there is none, or more than one.
    static MethodInfo SkillRun(Assembly assembly)
    {
        const BindingFlags Static = BindingFlags.Public | BindingFlags.Static;
        MethodInfo[] found = assembly.GetTypes()
            .Where(type => type.Name == "Skill")
            .Select(type => type.GetMethod("Run", Static, null, new[] { typeof(string[]) }, null) ?? type.GetMethod("Run", Static, null, Type.EmptyTypes, null))
            .Where(method => method != null)
            .ToArray();
        return found.Length == 1 ? found[0] : null;
    }

    // All of it on standard error; the last line is the one that is told.
    static void Fail(Exception error)
    {
        try
        {
            Console.Error.WriteLine(error);
            Console.Error.WriteLine(error.GetType() + ": " + (IsNoThread(error) ? "can't start new thread" : error.Message.Replace('\n', ' ')));
            Console.Out.Flush();
        }
        catch (Exception)
        {
            // Nobody reads it.
        }
        Environment.Exit(IsNoNetwork(error) ? NoNetwork : 1);
    }

    // The runtime calls that a lack of memory.
    static bool IsNoThread(Exception error)
    {
        return error is OutOfMemoryException && error.StackTrace != null && error.StackTrace.Contains("System.Threading.Thread.Start");
    }

    static bool IsNoNetwork(Exception error)
    {
        AggregateException several = error as AggregateException;
        if (several != null)
        {
            return several.InnerExceptions.Any(IsNoNetwork);
        }
        SocketException socket = error as SocketException;
        if (socket == null)
        {
            return error != null && IsNoNetwork(error.InnerException);
        }
        switch (socket.SocketErrorCode)
        {
            case SocketError.NetworkUnreachable:
            case SocketError.HostUnreachable:
            case SocketError.HostNotFound:
            case SocketError.TryAgain:
            case SocketError.NoData:
                return true;
            default:
                return false;
        }
    }

    // What the skill reads from its standard input. What a pipe does not hold is kept in memory.
    static void OwnStdin(byte[] text)
    {
        int reader;
        if (text.Length <= PipeHolds)
        {
            int[] ends = new int[2];
            Check(pipe(ends), "pipe");
            Say(ends[1], text);
            close(ends[1]);
            reader = ends[0];
        }
        else
        {
            reader = memfd_create("stdin", 0);
            Check(reader, "memfd_create");
            Say(reader, text);
            lseek(reader, IntPtr.Zero, 0);
        }
        Check(dup2(reader, 0), "dup2");
        close(reader);
    }

    static void Say(int fd, byte[] bytes)
    {
        while (bytes.Length > 0)
        {
            int written = (int)write(fd, bytes, (IntPtr)bytes.Length);
            Check(written, "write");
            bytes = bytes.Skip(written).ToArray();
        }
    }

    static void Check(int result, string call)
    {
        if (result < 0)
        {
            throw new IOException(call + " failed");
        }
    }
}

// The two texts of a job that this program needs: `{"entrypoint": "...", "params": ..., "stdin": "..."}`, as the host writes it.
static class Job
{
    public static void Read(Stream stream, out string entrypoint, out string stdin)
    {
        MemoryStream all = new MemoryStream();
        stream.CopyTo(all);
        string text = new UTF8Encoding(false).GetString(all.GetBuffer(), 0, (int)all.Length);
        Dictionary<string, string> found = new Dictionary<string, string>();
        string key = null;
        int depth = 0;
        for (int at = 0; at < text.Length; at++)
        {
            switch (text[at])
            {
                case '{':
                case '[':
                    depth++;
                    break;
                case '}':
                case ']':
                    depth--;
                    break;
                case ',':
                    if (depth == 1) { key = null; }
                    break;
                case '"':
                    string word = Text(text, ref at);
                    if (depth != 1) { break; }
                    if (key == null) { key = word; } else { found[key] = word; }
                    break;
            }
        }
        entrypoint = found["entrypoint"];
        stdin = found["stdin"];
    }

    // The text whose first quotation mark is at `at`, which is left on its last one.
    static string Text(string json, ref int at)
    {
        StringBuilder text = new StringBuilder();
        for (at++; json[at] != '"'; at++)
        {
            if (json[at] != '\\')
            {
                text.Append(json[at]);
                continue;
            }
            at++;
            switch (json[at])
            {
                case 'b': text.Append('\b'); break;
                case 'f': text.Append('\f'); break;
                case 'n': text.Append('\n'); break;
                case 'r': text.Append('\r'); break;
                case 't': text.Append('\t'); break;
                case 'u':
                    text.Append((char)Convert.ToUInt16(json.Substring(at + 1, 4), 16));
                    at += 4;
                    break;
                default: text.Append(json[at]); break;
            }
        }
        return text.ToString();
    }
}

// What most skills use, used once: the code of it is compiled and its libraries are loaded when a call comes. Whatever a runtime
// does not have is left out.
static class WarmUp
{
    public static void All()
    {
        foreach (Action step in new Action[] { Output, Linq, Json, Digest, Certificates, Http, Https })
        {
            try
            {
                step();
            }
            catch (Exception)
            {
                // Not in this runtime, or not in this way.
            }
        }
    }

    static void Output()
    {
        Console.Out.Write("");
        Console.Error.Write("");
        new StreamReader(new MemoryStream(new byte[] { 65 })).ReadToEnd();
    }

    static void Linq()
    {
        string.Join(",", new[] { "b", "a" }.OrderBy(word => word).Select(word => word.ToUpperInvariant()).ToList());
        System.Text.RegularExpressions.Regex.Replace("a1", "[0-9]+", "x");
    }

    static void Json()
    {
        Type serializer = Named("System.Text.Json.JsonSerializer", "System.Text.Json");
        Type options = Named("System.Text.Json.JsonSerializerOptions", "System.Text.Json");
        Type map = typeof(Dictionary<string, object>);
        Dictionary<string, object> value = new Dictionary<string, object> { { "success", true }, { "result", "a" }, { "count", 1 } };
        MethodInfo write = serializer.GetMethod("Serialize", new[] { typeof(object), typeof(Type), options });
        string text = (string)write.Invoke(null, new object[] { value, map, null });
        MethodInfo read = serializer.GetMethod("Deserialize", new[] { typeof(string), typeof(Type), options });
        read.Invoke(null, new object[] { text, map, null });
        Type document = Named("System.Text.Json.JsonDocument", "System.Text.Json");
        Type reading = Named("System.Text.Json.JsonDocumentOptions", "System.Text.Json");
        object parsed = document.GetMethod("Parse", new[] { typeof(string), reading }).Invoke(null, new object[] { text, Activator.CreateInstance(reading) });
        object root = document.GetProperty("RootElement").GetValue(parsed);
        MethodInfo property = root.GetType().GetMethod("GetProperty", new[] { typeof(string) });
        object result = property.Invoke(root, new object[] { "result" });
        root.GetType().GetMethod("GetString").Invoke(result, null);
    }

    static void Digest()
    {
        using (System.Security.Cryptography.SHA256 sha = System.Security.Cryptography.SHA256.Create())
        {
            sha.ComputeHash(new byte[0]);
        }
    }

    // The sandbox's own authority, as TLS will look at what it has signed.
    static void Certificates()
    {
        X509Chain chain = new X509Chain();
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.Build(new X509Certificate2(Environment.GetEnvironmentVariable("SSL_CERT_FILE")));
    }

    static void Http()
    {
        Request("http");
    }

    // Up to the first answer, which is no TLS.
    static void Https()
    {
        Request("https");
    }

    // One request over the sandbox's own loopback.
    static void Request(string scheme)
    {
        TcpListener listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        try
        {
            new Thread(() => Answer(listener)) { IsBackground = true }.Start();
            WebRequest request = WebRequest.Create(scheme + "://127.0.0.1:" + ((IPEndPoint)listener.LocalEndpoint).Port + "/");
            request.Proxy = null;
            using (WebResponse response = request.GetResponse())
            {
                new StreamReader(response.GetResponseStream()).ReadToEnd();
            }
        }
        finally
        {
            // Whoever still waits for a request waits no more.
            listener.Stop();
        }
    }

    static void Answer(TcpListener listener)
    {
        try
        {
            using (Socket socket = listener.AcceptSocket())
            {
                socket.Receive(new byte[4096]);
                socket.Send(Encoding.ASCII.GetBytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"));
            }
        }
        catch (Exception)
        {
            // No request came, or it was given up: the step that made it has failed.
        }
    }

    static Type Named(string type, string assembly)
    {
        return Type.GetType(type + ", " + assembly, true);
    }
}
