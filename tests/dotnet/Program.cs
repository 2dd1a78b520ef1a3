// A skill with a Main, and a second assembly beside it, for the tests.

using System;

namespace Greeter
{
    static class Program
    {
        static int Main(string[] args)
        {
            string call = Console.In.ReadToEnd();
            if (call.Contains("leave"))
            {
                return 4;
            }
            Console.WriteLine("{\"success\": true, \"result\": \"" + Words.Greeting + "\", \"length\": " + call.Length + "}");
            return 0;
        }
    }
}
